using System.Text.Json;
using MassTransit;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Express;

/// <summary>
/// Before the door opens, the way of an inference is gone once: code is compiled, connections and the answers' queue are opened, statements
/// are known. The first callers of a process that was started beside others would wait seconds for it, where a closed door sends them to the
/// next one at once. Nothing of it stays: a job is inserted and rolled back, an inference that ended is read again.
/// </summary>
internal sealed partial class Rehearsal(
    NpgsqlDataSource database,
    ApiKeys keys,
    Infer infer,
    Admission admission,
    JobStore store,
    Waiters waiters,
    IBus bus,
    IngestOptions options,
    IServiceProvider services,
    TimeProvider time,
    ILogger<Rehearsal> log
) : IHostedService
{
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(options.RehearsalMax);
        try
        {
            await RehearseAsync(patience.Token);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            LogCutShort(log, e.Message);
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Goes as far as there is a tenant, a model and an inference to do it with.</summary>
    public async Task RehearseAsync(CancellationToken stop)
    {
        await keys.FindAsync("", stop);
        await HearAsync(stop);
        var (tenant, model) = await AnyTenantAndModelAsync(stop);
        if (tenant is not { } caller)
        {
            return;
        }

        var (owner, job) = await LastInferenceAsync(stop) ?? (caller, JobId.New(time.GetUtcNow()));
        await ReadAgainAsync(owner, job, stop);
        if (model is not null)
        {
            await SubmitAsync(caller, model, stop);
        }
    }

    /// <summary>An answer to nobody, sent to this process's own queue and heard there.</summary>
    private async Task HearAsync(CancellationToken stop)
    {
        var job = JobId.New(time.GetUtcNow());
        if (waiters.TryAdd(job, 1, Timeout.InfiniteTimeSpan, isStored: false) is not { } waiter)
        {
            return;
        }

        try
        {
            var answer = new TaskAnswer(job, 0, "0", "succeeded", [], null, null, null, "", 0, 0, 0, 0, 0, 0);
            await bus.PublishAsync(new TaskAnswered { ReplyTo = waiters.Instance, Answers = [answer] }, options.RehearsalMax, stop);
            await waiter.CompleteAsync(options.RehearsalMax, time, stop);
        }
        finally
        {
            waiters.Leave(waiter);
        }
    }

    /// <summary>All that happens to a request until it is stored: once as far as a mistake lets it go, once to the end, and taken back.</summary>
    private async Task SubmitAsync(TenantId tenant, string model, CancellationToken stop)
    {
        const string Text = "rehearsal";
        var body = JsonSerializer.SerializeToUtf8Bytes(
            new
            {
                model,
                input = Text,
                @class = LatencyClass.Bulk.Name(),
            }
        );
        var http = Request(tenant, HttpMethods.Post, body);
        await infer.HandleAsync(http);

        var mistakes = new Mistakes(1);
        var parameters = JobParameters.From(http.Request, mistakes, JobParameters.OfInference);
        parameters.Default(JobParameters.Model, model);
        parameters.Default(JobParameters.Class, LatencyClass.Express.Name());
        var (order, _) = await admission.AdmitAsync(tenant, parameters, mistakes, 0, stop);
        if (order is null)
        {
            return;
        }

        var tasks = new ExpressTasks(order.Model, options, mistakes);
        tasks.AddText("0", Text, default);
        if (tasks.Count > 0)
        {
            var chunks = tasks.Finish();
            await store.RehearseInsertAsync(
                new QueuedJob(order, new JobTotals(tasks.Count, tasks.Units, chunks.Count), chunks, [], Moments.Now(time), null),
                stop
            );
        }
    }

    /// <summary>As a reader comes back to an inference; to none where there was none.</summary>
    private async Task ReadAgainAsync(TenantId tenant, JobId job, CancellationToken stop)
    {
        var http = Request(tenant, HttpMethods.Get, []);
        http.Request.Headers.Accept = InferStream.ContentType;
        http.RequestAborted = stop;
        await infer.FindAsync(job.ToString(), http);
    }

    private DefaultHttpContext Request(TenantId tenant, string method, byte[] body)
    {
        var http = new DefaultHttpContext { RequestServices = services };
        http.ActAs(new Caller(Guid.Empty, tenant, IsOperator: false));
        http.Request.Method = method;
        http.Request.ContentType = "application/json";
        http.Request.ContentLength = body.Length;
        http.Request.Body = new MemoryStream(body);
        return http;
    }

    private async Task<(TenantId? Tenant, string? Model)> AnyTenantAndModelAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "SELECT (SELECT id FROM tenants LIMIT 1), (SELECT name FROM models WHERE current AND kind = 'text' LIMIT 1)"
        );
        await using var row = await command.ExecuteReaderAsync(stop);
        await row.ReadAsync(stop);
        return (row.IsDBNull(0) ? null : new TenantId(row.GetGuid(0)), row.IsDBNull(1) ? null : row.GetString(1));
    }

    private async Task<(TenantId Tenant, JobId Job)?> LastInferenceAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT tenant, id FROM (SELECT * FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 100) ended
            WHERE class <> 'bulk' AND state = 'completed' AND outputs_removed_at IS NULL AND tasks <= 16
            LIMIT 1
            """
        );
        await using var row = await command.ExecuteReaderAsync(stop);
        return await row.ReadAsync(stop) ? (new TenantId(row.GetGuid(0)), new JobId(row.GetGuid(1))) : null;
    }

    [LoggerMessage(61, LogLevel.Information, "The rehearsal before the door opens was cut short: {Reason}")]
    private static partial void LogCutShort(ILogger log, string reason);
}
