using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// <c>POST /v1/batches</c>: answers 200 with a batch that is <c>validating</c>; its lines are read after (<see cref="BatchIntake"/>). A create
/// that is sent again with its <c>Idempotency-Key</c>, or with the metadata key <c>idempotency_key</c>, gets the first answer.
/// <c>POST /v1/batches/{id}/cancel</c> cancels one.
/// </summary>
internal sealed class CreateBatch(
    FileStore files,
    BatchStore batches,
    BatchIntake intake,
    Idempotency keys,
    BrokerGate broker,
    NpgsqlDataSource database,
    IngestOptions options,
    TimeProvider time
)
{
    /// <summary>A client that cannot set a header says here that it may send the request twice.</summary>
    public const string MetadataKey = "idempotency_key";

    private const int BodyBytesMax = 64 * 1024;
    private const int OutputSecondsMin = 3600;

    /// <summary>Life of output files where nobody asks for a shorter one.</summary>
    public const int OutputSecondsMax = 30 * 24 * 3600;

    private static readonly string[] Fields =
    [
        "input_file_id",
        "endpoint",
        "completion_window",
        "metadata",
        "output_expires_after",
        "service_tier",
    ];

    public async Task<IResult> HandleAsync(HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var stop = http.RequestAborted;
        if (await WholeBody.ReadAsync(http.Request.Body, BodyBytesMax, stop) is not { } bytes)
        {
            return Problems.Result(FailureKind.InputTooLarge, $"The body expects at most {BodyBytesMax} bytes.");
        }

        var mistakes = new Mistakes(options.MistakesMax);
        using var body = Parse(bytes, mistakes);
        var order = body is null ? null : Read(http.Tenant(), body.RootElement, mistakes);
        var key = Idempotency.KeyOf(http.Request, mistakes) ?? (order is null ? null : KeyIn(order.Metadata));
        if (order is null || mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        if (key is null)
        {
            return await AcceptAsync(http, order, null, null, stop);
        }

        var fingerprint = SHA256.HashData([.. "POST /v1/batches\n"u8, .. bytes.Span]);
        await using var claim = await keys.ClaimAsync(order.Tenant, key, stop);
        return claim switch
        {
            { IsInProgress: true } => Idempotency.InProgress(),
            { Answer: { } answer } => SubmitJob.Replay(fingerprint, answer),
            _ => await AcceptAsync(http, order, claim, fingerprint, stop),
        };
    }

    public async Task<IResult> CancelAsync(string id, HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var (tenant, stop) = (http.Tenant(), http.RequestAborted);
        if (!BatchIds.TryParse(id, out var job) || await batches.FindAsync(tenant, job, stop) is not { } batch)
        {
            return ReadBatches.Unknown(id);
        }

        if (batch.Status is "finalizing" or "completed" or "failed" or "expired")
        {
            return Problems.Result(FailureKind.InvalidState, $"A batch that is {batch.Status} cannot be cancelled.", "status");
        }

        await using var command = database.CreateCommand(
            "UPDATE openai_batches SET cancelling_at = $2 WHERE job = $1 AND cancelling_at IS NULL AND finished_at IS NULL"
        );
        command.Parameters.Add(new() { Value = job.Value });
        command.Parameters.Add(FileStore.Moment(time.GetUtcNow()));
        await command.ExecuteNonQueryAsync(stop);
        intake.Wake();
        return ReadBatches.Answer(http, (await batches.FindAsync(tenant, job, stop))!, time);
    }

    /// <summary>Stores the order, with the answer under its key, and answers.</summary>
    public async Task<IResult> AcceptAsync(HttpContext http, BatchOrder order, KeyClaim? claim, byte[]? fingerprint, CancellationToken stop)
    {
        if (await files.FindAsync(order.Tenant, order.InputFile, stop) is not { } file)
        {
            return ReadFiles.Unknown(order.InputFile.ToString());
        }

        if (file.Purpose != FilePurposes.Batch)
        {
            var mistakes = new Mistakes(1);
            mistakes.Add("input_file_id", $"a file whose purpose is {FilePurposes.Batch}", $"one whose purpose is {file.Purpose}");
            return Admission.Refuse(mistakes);
        }

        var view = BatchStore.View(order);
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(BatchStore.Insert(order));
        if (claim is not null)
        {
            var body = JsonSerializer.SerializeToUtf8Bytes(view, ApiJson.Options);
            var kept = new KeptAnswer(claim.Key, fingerprint!, StatusCodes.Status200OK, body);
            batch.BatchCommands.Add(JobStore.Keep(order.Tenant, kept, order.Job, order.CreatedAt));
        }

        await batch.ExecuteNonQueryAsync(stop);
        intake.Wake();
        return ReadBatches.Answer(http, view, time);
    }

    private static JsonDocument? Parse(ReadOnlyMemory<byte> bytes, Mistakes mistakes)
    {
        try
        {
            var body = JsonDocument.Parse(bytes);
            var hasHalfPair = SurrogatePairs.HasHalfPair(bytes.Span);
            if (body.RootElement.ValueKind == JsonValueKind.Object && !hasHalfPair)
            {
                return body;
            }

            body.Dispose();
            if (hasHalfPair)
            {
                mistakes.Add("body", SurrogatePairs.Paired, SurrogatePairs.HalfPair);
                return null;
            }
        }
        catch (JsonException)
        {
            // Told below.
        }

        mistakes.Add("body", "a JSON object", $"\"{Excerpt.Of(bytes.Span)}\"");
        return null;
    }

    private BatchOrder Read(TenantId tenant, JsonElement body, Mistakes mistakes)
    {
        foreach (var member in body.EnumerateObject().Where(member => !Fields.Contains(member.Name)))
        {
            mistakes.Add(Excerpt.Of(member.Name), $"only {string.Join(", ", Fields)}", "a field of that name");
        }

        var now = Moments.Now(time);
        var endpoint = Text(body, "endpoint");
        if (!Endpoints.All.Contains(endpoint))
        {
            mistakes.Add("endpoint", $"one of {string.Join(", ", Endpoints.All)}", Given(body, "endpoint"));
        }

        if (!FileId.TryParse(Text(body, "input_file_id"), out var file))
        {
            mistakes.Add("input_file_id", "the id of an uploaded file, file-…", Given(body, "input_file_id"));
        }

        var window = Text(body, "completion_window");
        var length = CheckWindow(window, Given(body, "completion_window"), mistakes);

        if (!ServiceTiers.TryParse(Text(body, "service_tier"), LatencyClass.Bulk, out var latency))
        {
            mistakes.Add("service_tier", ServiceTiers.Form, Given(body, "service_tier"));
        }

        var parameters = new JobParameters(JobParameters.OfJobs);
        if (body.TryGetProperty("metadata", out var metadata) && metadata.ValueKind != JsonValueKind.Null)
        {
            parameters.Take(JobParameters.Metadata, metadata, default, mistakes);
            CheckGroup(metadata, mistakes);
        }

        return new BatchOrder(
            JobId.New(now),
            tenant,
            endpoint ?? "",
            file,
            window ?? "",
            now + length,
            latency,
            JsonSerializer.Serialize(parameters.MetadataPairs),
            OutputSeconds(body, mistakes),
            now
        );
    }

    private static void CheckGroup(JsonElement metadata, Mistakes mistakes)
    {
        if (metadata.ValueKind == JsonValueKind.Object)
        {
            TellMistake tell = (_, field, _) => mistakes.Add(field, $"a string of {GroupName.Form}", Given(metadata, RequestBody.GroupKey));
            RequestBody.ReadGroup(metadata, tell, mayHaveOthers: true);
        }
    }

    /// <summary>Reads a completion window, or tells what is wrong with it; then it is zero.</summary>
    internal TimeSpan CheckWindow(string? window, string given, Mistakes mistakes)
    {
        if (TryParseWindow(window, out var length) && length > TimeSpan.Zero && length <= options.DeadlineMax)
        {
            return length;
        }

        var expected = $"24h, or any <n>s, <n>m, <n>h or <n>d up to {options.DeadlineMax.TotalDays:0.##} days";
        mistakes.Add("completion_window", expected, given);
        return TimeSpan.Zero;
    }

    /// <summary>One number and a unit, as OpenAI writes <c>24h</c>.</summary>
    internal static bool TryParseWindow(string? text, out TimeSpan length)
    {
        length = default;
        return text is { Length: >= 2 and <= 6 }
            && text[^1] is 's' or 'm' or 'h' or 'd'
            && text.AsSpan(0, text.Length - 1).IndexOfAnyExceptInRange('0', '9') < 0
            && Durations.TryParse(text, out length);
    }

    private static int OutputSeconds(JsonElement body, Mistakes mistakes)
    {
        if (!body.TryGetProperty("output_expires_after", out var given) || given.ValueKind == JsonValueKind.Null)
        {
            return OutputSecondsMax;
        }

        if (
            given.ValueKind == JsonValueKind.Object
            && Text(given, "anchor") is null or "created_at"
            && given.TryGetProperty("seconds", out var value)
            && value.ValueKind == JsonValueKind.Number
            && value.TryGetInt32(out var seconds)
            && seconds is >= OutputSecondsMin and <= OutputSecondsMax
        )
        {
            return seconds;
        }

        var form = $"{{\"anchor\": \"created_at\", \"seconds\": {OutputSecondsMin} to {OutputSecondsMax}}}";
        mistakes.Add("output_expires_after", form, RequestBody.Excerpt(given));
        return OutputSecondsMax;
    }

    private static string? Text(JsonElement body, string name) =>
        body.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()
        : value.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null ? null
        : "";

    private static string Given(JsonElement body, string name) =>
        body.TryGetProperty(name, out var value) ? RequestBody.Excerpt(value) : "nothing";

    private static string? KeyIn(string metadata)
    {
        using var pairs = JsonDocument.Parse(metadata);
        return pairs.RootElement.TryGetProperty(MetadataKey, out var key) && key.GetString() is { Length: > 0 and <= 255 } text
            ? text
            : null;
    }
}
