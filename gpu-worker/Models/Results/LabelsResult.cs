using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>
/// The best labels with their scores: <c>{"labels":[{"label":"en","score":0.98}]}</c>. Scores have six significant digits, more than
/// batching leaves meaningful. This runs once a task, tens of thousands of times a second: the labels are JSON already, and nothing is
/// allocated but the answer.
/// </summary>
internal sealed class LabelsResult : IResultMaker
{
    public const string ContentType = "application/json";

    private const int StackBytesMax = 1024;

    private readonly byte[][] _starts;
    private readonly int _topK;
    private readonly bool _softmax;
    private readonly int _answerBytesMax;

    public LabelsResult(IReadOnlyList<string> labels, int topK, bool softmax)
    {
        _starts = [.. labels.Select(Start)];
        _topK = Math.Min(topK, labels.Count);
        _softmax = softmax;
        _answerBytesMax = 16 + (_topK * (ScoreText.BytesMax + 2 + _starts.Max(start => start.Length)));
    }

    public TaskOutput Make(BatchOutputs outputs, int row)
    {
        var type = outputs.Plan(0).Type;
        if (type == TensorElementType.Float32 && outputs.TryGetRow(0, row, out var part) && part.Length == _starts.Length * sizeof(float))
            return Write(MemoryMarshal.Cast<byte, float>(part));

        var shape = outputs.Shape(0, row, stackalloc long[outputs.Rank(0)]);
        var count = BatchOutputs.Elements(shape);
        if (count != _starts.Length)
            throw new OnnxRuntimeException(
                OrtErrorCode.RuntimeException,
                $"The output {outputs.Plan(0).Name} has {count} numbers a task; expected {_starts.Length}, one a label."
            );
        var room = ArrayPool<byte>.Shared.Rent(count * (type.Size() + sizeof(float)));
        try
        {
            var bytes = room.AsSpan(0, count * type.Size());
            var scores = MemoryMarshal.Cast<byte, float>(room.AsSpan(bytes.Length))[..count];
            outputs.CopyTo(bytes, 0, row, shape);
            Reals.Read(type, bytes, scores);
            return Write(scores);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(room);
        }
    }

    private TaskOutput Write(ReadOnlySpan<float> scores)
    {
        var best = _topK <= 128 ? stackalloc int[_topK] : new int[_topK];
        Best(scores, best);
        var (shift, divisor) = _softmax ? Softmax(scores, scores[best[0]]) : (0f, 0f);

        byte[]? rented = null;
        var answer =
            _answerBytesMax <= StackBytesMax ? stackalloc byte[StackBytesMax] : rented = ArrayPool<byte>.Shared.Rent(_answerBytesMax);
        try
        {
            var at = Append(answer, 0, "{\"labels\":["u8);
            for (var i = 0; i < best.Length; i++)
            {
                if (i > 0)
                    answer[at++] = (byte)',';
                at = Append(answer, at, _starts[best[i]]);
                at += ScoreText.Write(answer[at..], Score(scores[best[i]]));
                answer[at++] = (byte)'}';
            }
            at = Append(answer, at, "]}"u8);
            var second = best.Length > 1 ? Score(scores[best[1]]) : 0f;
            return new TaskOutput(answer[..at].ToArray(), ContentType, Score(scores[best[0]]), second);
        }
        finally
        {
            if (rented is not null)
                ArrayPool<byte>.Shared.Return(rented);
        }

        float Score(float score) => _softmax ? MathF.Exp(score - shift) / divisor : score;
    }

    /// <summary>The indices of the largest scores, largest first; the earlier label wins a tie. NaN is below everything.</summary>
    private static void Best(ReadOnlySpan<float> scores, Span<int> best)
    {
        var found = 0;
        for (var i = 0; i < scores.Length; i++)
        {
            if (found == best.Length && !IsAbove(scores[i], scores[best[^1]]))
                continue;
            var place = found < best.Length ? found++ : found - 1;
            for (; place > 0 && IsAbove(scores[i], scores[best[place - 1]]); place--)
                best[place] = best[place - 1];
            best[place] = i;
        }
    }

    private static bool IsAbove(float score, float other) => score > other || (float.IsNaN(other) && !float.IsNaN(score));

    /// <summary>Softmax is exp(score − largest) ÷ the sum of all such; the largest taken off first, so that nothing overflows.</summary>
    private static (float Shift, float Divisor) Softmax(ReadOnlySpan<float> scores, float largest)
    {
        var sum = 0f;
        foreach (var score in scores)
            sum += MathF.Exp(score - largest);
        return (largest, sum);
    }

    private static int Append(Span<byte> to, int at, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(to[at..]);
        return at + bytes.Length;
    }

    private static byte[] Start(string label)
    {
        var json = JsonEncodedText.Encode(label, JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
        return [.. "{\"label\":\""u8, .. json.EncodedUtf8Bytes, .. "\",\"score\":"u8];
    }
}
