using System.Numerics;

namespace Pipeline.GpuWorker.Models.Tokenizers;

/// <summary>The UTF-8 bytes themselves, cut at the longest length; a character may be cut through, as the model reads bytes.</summary>
internal sealed class ByteTokenizer(int maxLength) : ITextTokenizer
{
    public int PadId => 0;

    public int IdMax => byte.MaxValue;

    public TextTask Prepare(ReadOnlyMemory<byte> utf8)
    {
        var bytes = utf8.Length <= maxLength ? utf8 : utf8[..maxLength];
        return new ByteTask(bytes) { Units = Math.Max(1, bytes.Length) };
    }

    private sealed class ByteTask(ReadOnlyMemory<byte> bytes) : TextTask
    {
        public override int Tokens => bytes.Length;

        public override void Write<T>(Span<T> to, int step)
        {
            var from = bytes.Span;
            if (step == 1)
            {
                to = to[..from.Length];
                for (var i = 0; i < from.Length; i++)
                    to[i] = T.CreateTruncating(from[i]);
            }
            else
            {
                for (var i = 0; i < from.Length; i++)
                    to[i * step] = T.CreateTruncating(from[i]);
            }
        }
    }
}
