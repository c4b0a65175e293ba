using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Express;

namespace Pipeline.Ingest.OpenInference;

/// <summary>
/// The answer to <c>infer</c> (Open Inference Protocol, "Inference Response JSON Object"): the rows' results, stacked to tensors again, as JSON
/// or as binary data behind it. One tensor has all rows or none, so one row that failed is the whole answer.
/// </summary>
internal static class InferenceAnswer
{
    public const string JsonLengthHeader = "Inference-Header-Content-Length";

    private static readonly JsonWriterOptions Writer = new()
    {
        SkipValidation = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static IResult Of(HttpContext http, ExpressAccepted accepted, ModelTensors model, InferenceRequest request)
    {
        var job = accepted.Job;
        var results = accepted.Results();
        if (results.Count < job.Tasks)
        {
            return Problems.Result(FailureKind.UnknownJob, $"Job {job.Id} was removed before it had ended.");
        }

        if (results.FirstOrDefault(r => r.Output is null) is { } failed)
        {
            var kind = Enum.GetValues<FailureKind>().FirstOrDefault(k => k.Info().Code == failed.ErrorCode, FailureKind.Internal);
            return Refuse(job, kind, $"Row {failed.Seq}: {failed.ErrorMessage}");
        }

        var rows = results.Select(Tensors).ToArray();
        var outputs = new List<(PackedTensor Tensor, bool Binary)>();
        foreach (var (output, binary) in Asked(model, request))
        {
            PackedTensor[] parts = [.. rows.Select(row => row.First(t => t.Name == output.Name))];
            if (parts.FirstOrDefault(part => !part.Shape.SequenceEqual(parts[0].Shape)) is { } other)
            {
                return Refuse(
                    job,
                    FailureKind.InvalidInput,
                    $"The rows' \"{output.Name}\" have different shapes, [{Show(parts[0])}] and [{Show(other)}], which no tensor holds. "
                        + $"Send such rows one a request; this time's results are at {job.Links.Results}."
                );
            }

            outputs.Add((Stack(output, parts), binary));
        }

        return Render(http, job, request.Id, results.Sum(r => (decimal)r.CostPico), outputs);
    }

    /// <summary>The outputs asked for, in that order; all of them where none was named.</summary>
    private static IEnumerable<(ModelTensor Output, bool Binary)> Asked(ModelTensors model, InferenceRequest request) =>
        request.Outputs.Count == 0
            ? model.Outputs.Select(output => (output, request.BinaryOutput))
            : request.Outputs.Select(asked => (model.Outputs.First(o => o.Name == asked.Name), asked.Binary ?? request.BinaryOutput));

    private static PackedTensor Stack(ModelTensor output, PackedTensor[] rows)
    {
        if (output.BatchAxis is not { } axis)
        {
            return rows[0];
        }

        var data = new ArrayBufferWriter<byte>();
        Elements.Stack(data, rows, axis);
        long[] shape = [.. rows[0].Shape[..axis], rows.Length, .. rows[0].Shape[axis..]];
        return new PackedTensor(output.Name, rows[0].Type, shape, data.WrittenMemory);
    }

    /// <summary>The tensors of one result, as <see cref="ModelTensors"/> promises them.</summary>
    private static IReadOnlyList<PackedTensor> Tensors(TaskAnswer result) =>
        result.ContentType == PackedTensors.ContentType ? PackedTensors.Read(result.Output) : Best(result.Output!);

    /// <summary><c>{"labels": [{"label": "en", "score": 0.98}, …]}</c> as two tensors; a score that is no number is null there and NaN here.</summary>
    private static PackedTensor[] Best(byte[] output)
    {
        using var json = JsonDocument.Parse(output);
        var labels = new ArrayBufferWriter<byte>();
        var scores = new ArrayBufferWriter<byte>();
        var count = 0;
        foreach (var best in json.RootElement.GetProperty("labels").EnumerateArray())
        {
            count++;
            PackedTensors.WriteString(labels, System.Text.Encoding.UTF8.GetBytes(best.GetProperty("label").GetString() ?? ""));
            var score = best.GetProperty("score");
            BinaryPrimitives.WriteSingleLittleEndian(
                scores.GetSpan(sizeof(float)),
                score.ValueKind == JsonValueKind.Null ? float.NaN : score.GetSingle()
            );
            scores.Advance(sizeof(float));
        }

        return
        [
            new(ModelTensors.Labels, TensorElementType.String, [count], labels.WrittenMemory),
            new(ModelTensors.Scores, TensorElementType.Float32, [count], scores.WrittenMemory),
        ];
    }

    private static IResult Render(HttpContext http, JobView job, string? id, decimal cost, List<(PackedTensor Tensor, bool Binary)> outputs)
    {
        var body = new ArrayBufferWriter<byte>(1024);
        var tail = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(body, Writer))
        {
            json.WriteStartObject();
            json.WriteString("model_name"u8, job.Model.Name);
            json.WriteString("model_version"u8, job.Model.Version);
            if (id is not null)
            {
                json.WriteString("id"u8, id);
            }

            json.WriteStartObject("parameters"u8);
            json.WriteString("job"u8, job.Id.Value);
            json.WriteString("class"u8, job.Class.Name());
            json.WriteNumber("cost_pico_usd"u8, cost);
            json.WriteEndObject();
            json.WriteStartArray("outputs"u8);
            foreach (var (tensor, binary) in outputs)
            {
                WriteOutput(json, tensor, binary ? tail : null);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        var isBinary = outputs.Any(output => output.Binary);
        if (isBinary)
        {
            http.Response.Headers[JsonLengthHeader] = body.WrittenCount.ToString(CultureInfo.InvariantCulture);
            body.Write(tail.WrittenSpan);
        }

        return Results.Bytes(body.WrittenMemory, isBinary ? "application/octet-stream" : "application/json");
    }

    private static void WriteOutput(Utf8JsonWriter json, PackedTensor tensor, ArrayBufferWriter<byte>? tail)
    {
        json.WriteStartObject();
        json.WriteString("name"u8, tensor.Name);
        json.WriteString("datatype"u8, tensor.Type.Datatype());
        json.WriteStartArray("shape"u8);
        foreach (var dim in tensor.Shape)
        {
            json.WriteNumberValue(dim);
        }

        json.WriteEndArray();
        if (tail is null)
        {
            json.WriteStartArray("data"u8);
            PackedTensors.WriteElements(json, tensor);
            json.WriteEndArray();
        }
        else
        {
            var before = tail.WrittenCount;
            Elements.WriteBinary(tail, tensor);
            json.WriteStartObject("parameters"u8);
            json.WriteNumber("binary_data_size"u8, tail.WrittenCount - before);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static ProblemResult Refuse(JobView job, FailureKind kind, string detail) =>
        new(Problems.From(kind, detail) with { Job = job.Id });

    private static string Show(PackedTensor tensor) => string.Join(", ", tensor.Shape);
}
