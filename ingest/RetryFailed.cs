using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// <c>POST /v1/jobs/{id}/retry-failed</c>: a new job of the tasks that failed, for the same model version; results never change, so the
/// old job stays as it is. Class, webhook, budget, groups and metadata are the old ones unless the query names others.
/// </summary>
internal sealed class RetryFailed(
    SubmitJob submit,
    Admission admission,
    JobStore store,
    GroupCommit commit,
    UploadLeases leases,
    Idempotency keys,
    BrokerGate broker,
    NpgsqlDataSource database,
    IngestOptions options
)
{
    public async Task<IResult> HandleAsync(string id, HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var mistakes = new Mistakes(options.MistakesMax);
        var parameters = JobParameters.From(http.Request, mistakes);
        var key = Idempotency.KeyOf(http.Request, mistakes);
        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        await using var claim = key is null ? null : await keys.ClaimAsync(http.Tenant(), key, http.RequestAborted);
        if (claim is { IsInProgress: true })
        {
            return Idempotency.InProgress();
        }

        var fingerprint = Fingerprint(id, parameters);
        return claim?.Answer is { } answer
            ? SubmitJob.Replay(fingerprint, answer)
            : await RetryAsync(id, http, parameters, mistakes, claim, fingerprint);
    }

    private async Task<IResult> RetryAsync(
        string id,
        HttpContext http,
        JobParameters parameters,
        Mistakes mistakes,
        KeyClaim? claim,
        byte[] fingerprint
    )
    {
        var stop = http.RequestAborted;
        var old = JobId.TryParse(id, out var job) ? await JobViews.FindAsync(database, http.Tenant(), job, stop) : null;
        if (old is null)
        {
            return JobCommands.Unknown(id);
        }

        if (!old.State.IsEnd() || old.Counts.Failed == 0)
        {
            var why = old.State.IsEnd() ? "has no failed task" : $"is {old.State.Name()}; wait for its end";
            return Problems.Result(FailureKind.InvalidState, $"Nothing to retry: the job {why}.", "state");
        }

        if (JobViews.Removed(old.Id, "inputs", old.InputsRemovedAt ?? old.OutputsRemovedAt) is { } removed)
        {
            return removed;
        }

        var sameRoute = parameters[JobParameters.Model] is null && parameters[JobParameters.Route] is null;
        if (parameters[JobParameters.Route] is null)
        {
            parameters.Default(JobParameters.Model, old.Model.ToString());
        }

        parameters.Default(JobParameters.Class, old.Class.Name());
        parameters.Default(JobParameters.Webhook, old.Webhook);
        parameters.Default(JobParameters.Group, old.Group);
        parameters.Default(JobParameters.MaxCost, old.MaxCostPicoUsd is { } pico ? Usd(pico) : null);
        parameters.DefaultMetadata(old.Metadata);
        var (order, refused) = await admission.AdmitAsync(http.Tenant(), parameters, mistakes, 0, stop);
        if (refused is not null)
        {
            return refused;
        }

        order = order! with { RetryOf = old.Id, Route = sameRoute ? await ReadRouteAsync(old.Id, stop) : order.Route };
        await using var writer = new JobWriter(order, store, commit, leases, options);
        await CopyFailedAsync(old.Id, writer, stop);
        return await submit.AcceptAsync(order, writer, claim, fingerprint, stop);
    }

    /// <summary>The route of the old job, as it was.</summary>
    private async Task<ModelRoute?> ReadRouteAsync(JobId old, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT route::text FROM jobs WHERE id = $1");
        command.Parameters.Add(new() { Value = old.Value });
        return await command.ExecuteScalarAsync(stop) is string json ? JsonSerializer.Deserialize<ModelRoute>(json, ModelRoute.Json) : null;
    }

    /// <summary>Reads the old job chunk by chunk, and adds its failed tasks in their order.</summary>
    private async Task CopyFailedAsync(JobId old, JobWriter writer, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT {ChunkSql.Payload}, ARRAY(
              SELECT r.seq - c.first_seq FROM results r
              WHERE r.job = c.job AND r.seq >= c.first_seq AND r.seq < c.first_seq + {ChunkSql.Span} AND r.status = 'failed'
                AND r.chunk = c.no
              ORDER BY r.seq
            ), ARRAY(
              SELECT coalesce((SELECT t.name FROM task_groups t
                               WHERE t.job = c.job AND t.chunk = coalesce(c.root, c.no)
                                 AND t.tasks @> ARRAY[(r.seq - c.first_seq)::smallint]), '')
              FROM results r
              WHERE r.job = c.job AND r.seq >= c.first_seq AND r.seq < c.first_seq + {ChunkSql.Span} AND r.status = 'failed'
                AND r.chunk = c.no
              ORDER BY r.seq
            )
            FROM chunks c WHERE c.job = $1 AND c.failed > 0 ORDER BY c.no
            """
        );
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = old.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            using var chunk = ChunkPayload.Read(reader.GetFieldValue<byte[]>(0));
            foreach (var (task, group) in reader.GetFieldValue<int[]>(1).Zip(reader.GetFieldValue<string[]>(2)))
            {
                writer.Add(chunk.CustomId(task).Span, chunk.Input(task).Span, chunk.Units(task), Encoding.ASCII.GetBytes(group));
                if (writer.IsDue)
                {
                    await writer.StoreAsync(stop);
                }
            }
        }
    }

    private static byte[] Fingerprint(string id, JobParameters parameters)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"retry-failed {id}\n"));
        parameters.AddTo(hash);
        return hash.GetHashAndReset();
    }

    private static string Usd(long pico) => ((decimal)pico / Cost.PicoPerUsd).ToString(System.Globalization.CultureInfo.InvariantCulture);
}
