using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// <c>POST /v1/batches/{id}/retry-failed</c>: a new batch of the lines of the error file, as they stood in the input file: a new input
/// file is made of them. Endpoint, tier and metadata are the old ones, with <c>retry_of</c> beside them; so is the window, which begins anew,
/// unless <c>?completion_window=24h</c> gives another. The old batch stays as it is.
/// </summary>
internal sealed class RetryFailedBatch(
    FileStore files,
    BatchStore batches,
    CreateBatch create,
    Idempotency keys,
    BrokerGate broker,
    IngestOptions options,
    TimeProvider time
)
{
    /// <summary>In the new batch's metadata: the batch whose lines it retries.</summary>
    private const string RetryOf = "retry_of";
    public const string Window = "completion_window";

    public async Task<IResult> HandleAsync(string id, HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var (tenant, stop) = (http.Tenant(), http.RequestAborted);
        var mistakes = new Mistakes(options.MistakesMax);
        var key = Idempotency.KeyOf(http.Request, mistakes);
        var window = http.Request.Query[Window].ToString();
        if (window.Length > 0)
        {
            create.CheckWindow(window, $"\"{Excerpt.Of(window)}\"", mistakes);
        }

        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        if (!BatchIds.TryParse(id, out var job) || await batches.FindAsync(tenant, job, stop) is not { } batch)
        {
            return ReadBatches.Unknown(id);
        }

        if (!batch.IsEnd || batch.ErrorFileId is null)
        {
            var why = batch.IsEnd ? "has no line that failed" : $"is {batch.Status}; wait for its end";
            return Problems.Result(FailureKind.InvalidState, $"Nothing to retry: the batch {why}.", "status");
        }

        var fingerprint = SHA256.HashData(Encoding.UTF8.GetBytes($"POST /v1/batches/{id}/retry-failed\n{window}"));
        await using var claim = key is null ? null : await keys.ClaimAsync(tenant, key, stop);
        return claim switch
        {
            { IsInProgress: true } => Idempotency.InProgress(),
            { Answer: { } answer } => SubmitJob.Replay(fingerprint, answer),
            _ => await RetryAsync(
                http,
                tenant,
                window.Length > 0 ? batch with { CompletionWindow = window } : batch,
                claim,
                fingerprint,
                stop
            ),
        };
    }

    private async Task<IResult> RetryAsync(
        HttpContext http,
        TenantId tenant,
        BatchView batch,
        KeyClaim? claim,
        byte[] fingerprint,
        CancellationToken stop
    )
    {
        var (errors, input) = (await FindAsync(tenant, batch.ErrorFileId!, stop), await FindAsync(tenant, batch.InputFileId, stop));
        if (errors is null || input is null)
        {
            var gone = errors is null ? batch.ErrorFileId : batch.InputFileId;
            return Problems.Result(
                FailureKind.InvalidState,
                $"The file {gone} is gone, and what failed cannot be told without it. Upload the lines again.",
                "status"
            );
        }

        if (await CopyAsync(tenant, errors, input, stop) is not { } lines)
        {
            return Problems.Result(FailureKind.InvalidState, "No line of the error file is in the input file.", "status");
        }

        var now = Moments.Now(time);
        if (
            !CreateBatch.TryParseWindow(batch.CompletionWindow, out var window)
            || !ServiceTiers.TryParse(batch.ServiceTier, LatencyClass.Bulk, out var latencyClass)
        )
        {
            throw new InvalidDataException($"Batch {batch.Id} was stored with a window or tier that is none.");
        }

        var order = new BatchOrder(
            JobId.New(now),
            tenant,
            batch.Endpoint,
            lines.Id,
            batch.CompletionWindow,
            now + window,
            latencyClass,
            JsonSerializer.Serialize(Metadata(batch)),
            CreateBatch.OutputSecondsMax,
            now
        );
        return await create.AcceptAsync(http, order, claim, fingerprint, stop);
    }

    private Task<StoredFile?> FindAsync(TenantId tenant, string id, CancellationToken stop) =>
        FileId.TryParse(id, out var file) ? files.FindAsync(tenant, file, stop) : Task.FromResult<StoredFile?>(null);

    /// <summary>A new input file of the lines that the error file names; null when there is none.</summary>
    private async Task<StoredFile?> CopyAsync(TenantId tenant, StoredFile errors, StoredFile input, CancellationToken stop)
    {
        var failed = new HashSet<string>(StringComparer.Ordinal);
        await using (var content = files.Open(errors))
        {
            await foreach (var line in FileLines.ReadAsync(content, int.MaxValue, stop))
            {
                failed.Add(CustomIdOf(line.Bytes.Span));
            }
        }

        await using var writer = await files.CreateAsync(tenant, FilePurposes.Batch, input.Filename, stop);
        await using (var content = files.Open(input))
        {
            await foreach (var line in FileLines.ReadAsync(content, options.LineBytesMax, stop))
            {
                if (failed.Contains(CustomIdOf(line.Bytes.Span)))
                {
                    await writer.WriteAsync(line.Bytes, stop);
                    await writer.WriteAsync("\n"u8.ToArray(), stop);
                }
            }
        }

        return writer.Bytes == 0 ? null : await writer.CompleteAsync(FilePurposes.Batch, $"retry-{input.Filename}", input.ExpiresAt, stop);
    }

    private static string CustomIdOf(ReadOnlySpan<byte> line)
    {
        var json = new Utf8JsonReader(line);
        using var document = JsonDocument.ParseValue(ref json);
        return document.RootElement.GetProperty("custom_id").GetString() ?? "";
    }

    /// <summary>The key of a create belongs to that create alone.</summary>
    private static Dictionary<string, string> Metadata(BatchView batch)
    {
        var metadata = batch
            .Metadata.EnumerateObject()
            .Where(pair => pair.Name is not (CreateBatch.MetadataKey or RetryOf))
            .Take(15)
            .ToDictionary(pair => pair.Name, pair => pair.Value.GetString() ?? "");
        metadata[RetryOf] = batch.Id;
        return metadata;
    }
}
