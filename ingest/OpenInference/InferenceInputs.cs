using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.OpenInference;

/// <summary>Checks a request's tensors against what its model takes, and cuts them into tasks: one a row of the batch.</summary>
internal sealed class InferenceInputs(ModelManifest model, ModelTensors tensors, IngestOptions options, Mistakes mistakes)
{
    private readonly Dictionary<string, Given> _given = new(StringComparer.Ordinal);

    /// <summary>The tasks; with mistakes told, they are not whole.</summary>
    public ExpressTasks Read(InferenceRequest request, ReadOnlySpan<byte> body)
    {
        var tasks = new ExpressTasks(model, options, mistakes);
        for (var i = 0; i < request.Inputs.Count; i++)
        {
            ReadTensor(request.Inputs[i], $"inputs[{i}]", body);
        }

        foreach (var missing in tensors.Inputs.Where(t => !mistakes.Any && !_given.ContainsKey(t.Name)))
        {
            mistakes.Add("inputs", $"\"{missing.Name}\", {missing.Type.Datatype()} of shape {missing.ShapeText}", "no tensor of that name");
        }

        if (CountRows() is { } rows && !mistakes.Any)
        {
            Cut(tasks, rows);
        }

        return tasks;
    }

    private void ReadTensor(RequestInput input, string place, ReadOnlySpan<byte> body)
    {
        if (tensors.Inputs.FirstOrDefault(t => t.Name == input.Name) is not { } tensor)
        {
            var names = string.Join(", ", tensors.Inputs.Select(t => $"\"{t.Name}\""));
            mistakes.Add($"{place}.name", $"an input of the model: {names}", $"\"{Excerpt.Of(input.Name)}\"");
        }
        else if (_given.ContainsKey(tensor.Name))
        {
            mistakes.Add($"{place}.name", "every input once", $"\"{Excerpt.Of(input.Name)}\" twice");
        }
        else if (input.Datatype != tensor.Type.Datatype())
        {
            mistakes.Add($"{place}.datatype", tensor.Type.Datatype(), $"\"{Excerpt.Of(input.Datatype)}\"");
        }
        else if (!tensor.Takes(input.Shape))
        {
            mistakes.Add($"{place}.shape", tensor.ShapeText, TensorForm.Show(input.Shape));
        }
        else
        {
            ReadElements(tensor, input, place, body);
        }
    }

    private void ReadElements(ModelTensor tensor, RequestInput input, string place, ReadOnlySpan<byte> body)
    {
        var expected = TensorForm.Product(input.Shape);
        var data = new TensorData(options.TaskBytesMax);
        data.Start(tensor.Type);
        ElementMistake mistake;
        bool isGood;
        if (input.Binary is { } binary)
        {
            if (tensor.Type != TensorElementType.String && (Int128)expected * tensor.Type.Size() != binary.Length)
            {
                var size = $"{(Int128)expected * tensor.Type.Size()} for {tensor.Type.Datatype()} of shape {TensorForm.Show(input.Shape)}";
                mistakes.Add($"{place}.parameters.binary_data_size", size, $"{binary.Length}");
                return;
            }

            isGood = data.TryReadBinary(body.Slice(binary.Start, binary.Length), out mistake);
        }
        else
        {
            var (start, length) = input.Json!.Value;
            var json = new Utf8JsonReader(body.Slice(start, length));
            json.Read();
            isGood = json.TokenType == JsonTokenType.StartArray ? data.TryRead(ref json, out mistake) : NoArray(in json, out mistake);
        }

        if (!isGood)
        {
            mistakes.Add($"{place}.data{mistake.Where}", mistake.Expected, mistake.Given);
        }
        else if (data.Count != expected)
        {
            mistakes.Add($"{place}.data", $"{expected} elements for the shape {TensorForm.Show(input.Shape)}", $"{data.Count} elements");
        }
        else if (input.Json is not null && data.Shape.Length > 1 && !data.Shape.SequenceEqual(input.Shape))
        {
            mistakes.Add($"{place}.data", $"flat, or nested as {TensorForm.Show(input.Shape)}", $"nested as {TensorForm.Show(data.Shape)}");
        }
        else
        {
            _given[tensor.Name] = new Given(tensor, place, input.Shape, new Elements(tensor.Type, expected, data.Bytes.ToArray()));
        }
    }

    private static bool NoArray(ref readonly Utf8JsonReader json, out ElementMistake mistake)
    {
        mistake = new ElementMistake("", "an array of elements, flat or nested", TaskInput.Given(in json));
        return false;
    }

    /// <summary>How many rows the batched inputs have, all alike; 1 where there is none.</summary>
    private int? CountRows()
    {
        long? rows = null;
        foreach (var given in _given.Values)
        {
            if (given.Tensor.BatchAxis is not { } axis)
            {
                continue;
            }

            var field = $"{given.Place}.shape[{axis}]";
            var count = given.Shape[axis];
            if (count > options.ExpressInputsMax)
            {
                mistakes.Add(field, $"1 to {options.ExpressInputsMax} rows; send more as a job, POST /v1/jobs", $"{count}");
                return null;
            }

            if (rows is { } other && other != count)
            {
                mistakes.Add(field, $"{other} rows, as the other inputs have", $"{count}");
                return null;
            }

            rows = count;
        }

        return (int)(rows ?? 1);
    }

    private void Cut(ExpressTasks tasks, int rows)
    {
        if (model.Kind == ModelKind.Text)
        {
            var (_, place, _, texts) = _given[ModelTensors.Text];
            for (var row = 0; row < rows; row++)
            {
                tasks.AddText(Name(row), Encoding.UTF8.GetString(texts.Text(row)), new TaskPlace(null, row, IsBare: true, $"{place}.data"));
            }

            return;
        }

        var bytesMax = Math.Min(options.TaskBytesMax, model.Limits.InputBytesMax);
        var pack = new ArrayBufferWriter<byte>();
        for (var row = 0; row < rows && !mistakes.Any; row++)
        {
            var units = Pack(pack, row);
            if (pack.WrittenCount > bytesMax)
            {
                mistakes.Add("inputs", $"at most {bytesMax} bytes a row", $"{pack.WrittenCount}");
            }
            else if (!tasks.TryAddStored(Name(row), pack.WrittenSpan, units))
            {
                mistakes.Add("inputs", ExpressTasks.TogetherMax(options), "more");
            }
        }
    }

    /// <summary>One row of every input, as a task's input is stored.</summary>
    /// <returns>Its units: elements that are not shared with other rows.</returns>
    private int Pack(ArrayBufferWriter<byte> pack, int row)
    {
        pack.ResetWrittenCount();
        PackedTensors.WriteCount(pack, _given.Count);
        var units = 0L;
        foreach (var (tensor, _, shape, elements) in _given.Values)
        {
            long[] own = [.. shape.Where((_, axis) => axis != tensor.BatchAxis)];
            PackedTensors.WriteHeader(pack, tensor.Name, tensor.Type, own);
            elements.CopyRow(pack, shape, tensor.BatchAxis, row);
            units += tensor.BatchAxis is null ? 0 : TensorForm.Product(own);
        }

        return (int)Math.Clamp(units, 1, int.MaxValue);
    }

    private static string Name(int row) => row.ToString(CultureInfo.InvariantCulture);

    private sealed record Given(ModelTensor Tensor, string Place, long[] Shape, Elements Elements);
}
