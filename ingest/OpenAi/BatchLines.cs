using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// A batch's lines as they are read: every mistake is found, the first ones are kept, and as long as there is none the tasks go into the
/// job's chunks. The first line that names a model decides the batch's.
/// </summary>
internal sealed class BatchLines(WaitingBatch batch, Admission admission, Func<JobOrder, JobWriter> writerFor, IngestOptions options)
    : IAsyncDisposable
{
    private readonly List<BatchError> _errors = [];
    private readonly CustomIds _ids = new();
    private string? _model;
    private TaskInputs? _inputs;

    /// <summary>The job to be; there when no error was found.</summary>
    public JobOrder? Order { get; private set; }

    public JobWriter? Writer { get; private set; }

    public int Count { get; private set; }

    /// <summary>The first errors, in the order of the lines.</summary>
    public IReadOnlyList<BatchError> Errors => _errors;

    public long ErrorsTotal { get; private set; }

    public async Task ReadAsync(Stream content, CancellationToken stop)
    {
        await foreach (var line in FileLines.ReadAsync(content, options.LineBytesMax, stop))
        {
            Count++;
            if (line.TooLong)
            {
                Tell(line.Number, "line_too_long", null, $"The line expects at most {options.LineBytesMax} bytes, given more.");
                continue;
            }

            using var read = BatchLine.Read(
                line.Bytes.Span,
                batch.Endpoint,
                (code, param, message) => Tell(line.Number, code, param, message)
            );
            if (read is null)
            {
                continue;
            }

            if (_model is null)
            {
                _model = read.Body.Model;
                await AdmitAsync(line.Number, stop);
            }

            Take(read, line.Number);
            if (Writer is { IsDue: true } && ErrorsTotal == 0)
            {
                await Writer.StoreAsync(stop);
            }
        }

        if (Count == 0)
        {
            Tell(null, "empty_file", "input_file_id", "The input file expects at least one line, given none.");
        }
    }

    public ValueTask DisposeAsync() => Writer?.DisposeAsync() ?? ValueTask.CompletedTask;

    private async Task AdmitAsync(long line, CancellationToken stop)
    {
        var parameters = new JobParameters(JobParameters.OfJobs);
        parameters.Default(JobParameters.Model, _model);
        parameters.Default(JobParameters.Class, batch.Class);
        parameters.Default(JobParameters.Deadline, batch.ExpiresAt.ToUniversalTime().ToString("O"));
        parameters.DefaultMetadata(batch.Metadata);
        parameters.Default(JobParameters.Group, RequestBody.ReadGroup(batch.Metadata, (_, _, _) => { }, mayHaveOthers: true));
        var (order, refused) = await admission.AdmitAsync(batch.Tenant, parameters, new Mistakes(1), 0, stop);
        if (order is null)
        {
            Tell(line, refused!.Value.Error.Code, refused.Value.Error.Param, refused.Value.Detail);
            return;
        }

        Order = order with { Id = batch.Job, CreatedAt = batch.CreatedAt };
        _inputs = new TaskInputs(order.Model, options);
        if (TaskInputs.Unsuited(order.Model, batch.Endpoint) is { } unsuited)
        {
            Tell(line, "model_not_suited", "body.model", unsuited);
        }

        Writer = writerFor(Order);
    }

    private void Take(BatchLine line, long number)
    {
        if (line.Body.Model != _model)
        {
            Tell(
                number,
                "mismatched_model",
                "body.model",
                $"body.model: expected {_model}, as the lines before name it, given {line.Body.Model}. A batch has one model."
            );
        }

        if (
            line.Body.ServiceTier is { } tier
            && tier != "auto"
            && Order is { } order
            && ServiceTiers.TryParse(tier, order.Class, out var wanted)
            && wanted != order.Class
        )
        {
            Tell(
                number,
                "mismatched_service_tier",
                "body.service_tier",
                $"body.service_tier: expected {ServiceTiers.NameOf(order.Class)}, the batch's, given {tier}. A batch runs under one tier."
            );
        }

        var (customId, group) = (Encoding.UTF8.GetBytes(line.CustomId), Encoding.UTF8.GetBytes(line.Body.Group ?? ""));
        if (!_ids.TryAdd(customId, (int)number, out var first))
        {
            Tell(
                number,
                "duplicate_custom_id",
                "custom_id",
                $"custom_id: expected one that no other line has, given \"{Excerpt.Of(line.CustomId)}\", used on line {first}."
            );
        }

        if (_inputs is null)
        {
            return;
        }

        if (line.Body.Dimensions is not null && _inputs.DimensionsMistake(line.Body.Dimensions) is { } dimensions)
        {
            Tell(number, "invalid_value", "body.dimensions", dimensions);
        }

        for (var i = 0; i < line.Body.Inputs.Count; i++)
        {
            var param = line.Body.IsList ? $"body.input[{i}]" : "body.input";
            var good = _inputs.TryRead(
                line.Body.Inputs[i],
                param,
                (code, where, message) => Tell(number, code, where, message),
                out var stored,
                out var units
            );
            if (good && ErrorsTotal == 0)
            {
                Writer!.Add(customId, stored, units, group);
            }
        }
    }

    private void Tell(long? line, string code, string? param, string message)
    {
        ErrorsTotal++;
        if (_errors.Count < options.MistakesMax)
        {
            _errors.Add(new BatchError(code, message, param, line));
        }
    }
}

/// <summary>Checks inputs of OpenAI's requests as one model wants them, and makes them what is stored.</summary>
internal sealed class TaskInputs(ModelManifest model, IngestOptions options)
{
    private const int ByteVocabulary = 256;

    /// <summary><c>[CLS]</c> and <c>[SEP]</c>.</summary>
    private const int SpecialTokens = 2;
    private readonly TaskInput _input = TaskInput.For(model, options.TaskBytesMax);

    /// <summary>Why the model cannot serve an endpoint; null when it can.</summary>
    public static string? Unsuited(ModelManifest model, string endpoint) =>
        endpoint switch
        {
            Endpoints.Embeddings when model.Kind != ModelKind.Text || model.Result.Type != ResultType.Embedding =>
                $"model: expected a text model that makes embeddings, given {model.Ref}, which does not.",
            Endpoints.Moderations when model.Kind != ModelKind.Text || model.Result.Type != ResultType.Labels =>
                $"model: expected a text model with labels, given {model.Ref}, which has none.",
            _ => null,
        };

    /// <summary>What is wrong with the dimensions asked for; null when the model may be cut to them.</summary>
    public string? DimensionsMistake(int? dimensions)
    {
        if (dimensions is not { } wanted)
        {
            return null;
        }

        var all = EmbeddingLength();
        if (wanted == all || (wanted >= model.Result.DimensionsMin && wanted < all))
        {
            return null;
        }

        return model.Result.DimensionsMin is { } least
            ? $"dimensions: expected {least} to {all}, as {model.Ref} was trained for, given {wanted}."
            : $"dimensions: expected {(all is null ? "nothing" : $"{all} or nothing")}, since embeddings of {model.Ref} cannot be shortened, given {wanted}.";
    }

    /// <param name="stored">The input as stored; valid until the next call.</param>
    public bool TryRead(JsonElement input, string param, TellMistake tell, out ReadOnlySpan<byte> stored, out int units)
    {
        stored = default;
        units = 0;
        if (input.ValueKind == JsonValueKind.Array && model.Kind == ModelKind.Text)
        {
            return TryReadTokens(input, param, tell, out stored, out units);
        }

        var mistakes = new Mistakes(1);
        var json = new Utf8JsonReader(JsonMarshal.GetRawUtf8Value(input));
        json.Read();
        if (_input.TryRead(ref json, default, mistakes, out stored, out units))
        {
            return true;
        }

        var mistake = mistakes.Kept[0];
        var rest = mistake.Field is { } field && field.StartsWith("input", StringComparison.Ordinal) ? field["input".Length..] : "";
        tell("invalid_input", param + rest, $"{param}{rest}: expected {mistake.Expected}, given {mistake.Given}.");
        return false;
    }

    private bool TryReadTokens(JsonElement input, string param, TellMistake tell, out ReadOnlySpan<byte> stored, out int units)
    {
        stored = default;
        units = 0;
        var (tokenizer, bytesMax) = (model.Tokenizer!, Math.Min(options.TaskBytesMax, model.Limits.InputBytesMax));
        var isBytes = tokenizer.Type == TokenizerType.Bytes;
        var limit = isBytes ? bytesMax : (bytesMax - TokenIds.PackedBytes(0)) / sizeof(int);
        if (input.GetArrayLength() > limit)
        {
            tell("invalid_input", param, $"{param}: expected at most {limit} tokens, given {input.GetArrayLength()}.");
            return false;
        }

        // Of word pieces only the worker has the vocabulary: it refuses what lies outside.
        if (RequestBody.ReadTokens(input, isBytes ? ByteVocabulary : int.MaxValue, param, tell) is not { } ids)
        {
            return false;
        }

        stored = isBytes ? Array.ConvertAll(ids, id => (byte)id) : TokenIds.Pack(ids);
        units = Math.Clamp(isBytes ? ids.Length : ids.Length + SpecialTokens, 1, tokenizer.MaxLength);
        return true;
    }

    /// <summary>Numbers of an embedding, where the graph tells.</summary>
    private long? EmbeddingLength()
    {
        var output = model.Result.From is { } from ? model.Outputs.GetValueOrDefault(from) : model.Outputs.Values.FirstOrDefault();
        return output?.Shape is [.., > 0 and var length] ? length : null;
    }
}
