using System.Numerics;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Tokenizers;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>
/// Stacks texts: an input of token ids and, where the graph has them, one that marks real tokens (mask) and one of segments (types,
/// always 0). Rows are filled up to the longest, or to the length that the graph fixes.
/// </summary>
internal sealed class TextInputs : IBatchInputs
{
    private readonly ITextTokenizer _tokenizer;
    private readonly TextInput[] _inputs;
    private readonly int _fixedLength;

    private TextInputs(ITextTokenizer tokenizer, TextInput[] inputs, int fixedLength, string lengthSymbol)
    {
        _tokenizer = tokenizer;
        _inputs = inputs;
        _fixedLength = fixedLength;
        Names = [.. inputs.Select(input => input.Name)];
        PaddedSymbols = [lengthSymbol];
    }

    public string[] Names { get; }

    public IReadOnlyList<string> PaddedSymbols { get; }

    /// <exception cref="InvalidModelException">The graph's inputs are not those of a text model.</exception>
    public static TextInputs Create(ModelManifest manifest, ITextTokenizer tokenizer)
    {
        var mistakes = new List<ModelMistake>();
        var roles = TextRoles.Assign(manifest, mistakes);
        var inputs = new List<TextInput>();
        foreach (var (name, spec) in manifest.Inputs)
        {
            if (roles.TryGetValue(name, out var role) && Read(name, spec, role, tokenizer, mistakes) is { } input)
                inputs.Add(input);
        }

        var lengths = inputs.Select(input => input.FixedLength).Distinct().ToList();
        if (lengths.Count > 1)
            Mistake("inputs", "the same length in all of them", string.Join(", ", lengths));
        var length = lengths.FirstOrDefault();
        if (length > 0 && manifest.Tokenizer!.MaxLength > length)
            Mistake("tokenizer.max_length", $"at most {length}, the graph's length", $"{manifest.Tokenizer.MaxLength}");
        if (mistakes.Count > 0)
            throw new InvalidModelException(mistakes);

        var ids = inputs.First(input => input.Role == TextRole.Ids);
        return new TextInputs(tokenizer, [.. inputs], length, ids.LengthSymbol);

        void Mistake(string field, string expected, string given) =>
            mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, field, expected, given));
    }

    public PreparedTask Prepare(ReadOnlyMemory<byte> input) => _tokenizer.Prepare(input);

    public BatchTensors Pack(ReadOnlySpan<PreparedTask> tasks, int deviceRows, TensorBufferPool pool)
    {
        var sizes = new long[tasks.Length];
        var length = _fixedLength;
        for (var row = 0; row < tasks.Length; row++)
        {
            var tokens = ((TextTask)tasks[row]).Tokens;
            sizes[row] = Math.Max(1, tokens);
            if (_fixedLength == 0)
                length = (int)Math.Max(length, sizes[row]);
        }

        var values = new OrtValue[_inputs.Length];
        var buffers = new TensorBuffer?[_inputs.Length];
        var tensors = new BatchTensors(values, buffers) { RowUnits = length, Sizes = sizes };
        try
        {
            for (var i = 0; i < _inputs.Length; i++)
            {
                var input = _inputs[i];
                buffers[i] = pool.Rent((long)deviceRows * length * input.Type.Size());
                Fill(input, tasks, deviceRows, length, buffers[i]!);
                values[i] = buffers[i]!.AsValue(input.Type, input.BatchAxis == 0 ? [deviceRows, length] : [length, deviceRows]);
            }
            return tensors;
        }
        catch
        {
            tensors.Dispose();
            throw;
        }
    }

    private static void Fill(TextInput input, ReadOnlySpan<PreparedTask> tasks, int rows, int length, TensorBuffer buffer)
    {
        switch (input.Type)
        {
            case TensorElementType.Int64:
                Fill<long>(input, tasks, rows, length, buffer.Elements<long>());
                break;
            case TensorElementType.UInt64:
                Fill<ulong>(input, tasks, rows, length, buffer.Elements<ulong>());
                break;
            case TensorElementType.Int32:
                Fill<int>(input, tasks, rows, length, buffer.Elements<int>());
                break;
            case TensorElementType.UInt32:
                Fill<uint>(input, tasks, rows, length, buffer.Elements<uint>());
                break;
            case TensorElementType.Int16:
                Fill<short>(input, tasks, rows, length, buffer.Elements<short>());
                break;
            case TensorElementType.UInt16:
                Fill<ushort>(input, tasks, rows, length, buffer.Elements<ushort>());
                break;
            case TensorElementType.Int8:
                Fill<sbyte>(input, tasks, rows, length, buffer.Elements<sbyte>());
                break;
            default:
                Fill<byte>(input, tasks, rows, length, buffer.Elements<byte>());
                break;
        }
    }

    private static void Fill<T>(TextInput input, ReadOnlySpan<PreparedTask> tasks, int rows, int length, Span<T> memory)
        where T : unmanaged, IBinaryInteger<T>
    {
        memory = memory[..checked(rows * length)];
        var step = input.BatchAxis == 0 ? 1 : rows;
        if (step > 1 || input.Role != TextRole.Ids)
            memory.Fill(T.CreateTruncating(input.Pad));
        if (input.Role == TextRole.Types)
            return;
        for (var row = 0; row < rows; row++)
        {
            var task = (TextTask)tasks[Math.Min(row, tasks.Length - 1)];
            var to = memory[(step == 1 ? row * length : row)..];
            if (input.Role == TextRole.Mask)
            {
                for (var i = 0; i < task.Tokens; i++)
                    to[i * step] = T.One;
            }
            else
            {
                task.Write(to, step);
                if (step == 1)
                    to[task.Tokens..length].Fill(T.CreateTruncating(input.Pad));
            }
        }
    }

    private static TextInput? Read(string name, TensorSpec spec, TextRole role, ITextTokenizer tokenizer, List<ModelMistake> mistakes)
    {
        var before = mistakes.Count;
        var field = $"inputs.{name}";
        var type = spec.ElementType();
        var largest = role == TextRole.Ids ? tokenizer.IdMax : 1;
        Expect(IsInteger(type) && PadElement.Fits(type, largest), field, $"whole numbers up to {largest}", type.Name());
        Expect(spec.Shape!.Count == 2, field, "two dimensions, batch and length", $"{spec.Shape.Count}");
        Expect(spec.BatchAxis is not null, $"{field}.batch_axis", "0 or 1, as texts are stacked", "none");
        if (mistakes.Count > before)
            return null;

        var length = 1 - spec.BatchAxis!.Value;
        var pad = (long)(spec.Pad ?? (role == TextRole.Ids ? tokenizer.PadId : 0));
        return new TextInput(
            name,
            role,
            type,
            spec.BatchAxis.Value,
            pad,
            Math.Max(0, checked((int)spec.Shape[length])),
            spec.Symbols is { } symbols ? symbols[length] : ""
        );

        void Expect(bool holds, string at, string expected, string given)
        {
            if (!holds)
                mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, at, expected, given));
        }
    }

    private static bool IsInteger(TensorElementType type) =>
        type
            is TensorElementType.Int64
                or TensorElementType.UInt64
                or TensorElementType.Int32
                or TensorElementType.UInt32
                or TensorElementType.Int16
                or TensorElementType.UInt16
                or TensorElementType.Int8
                or TensorElementType.UInt8;

    private sealed record TextInput(
        string Name,
        TextRole Role,
        TensorElementType Type,
        int BatchAxis,
        long Pad,
        int FixedLength,
        string LengthSymbol
    );
}
