using System.Text;
using System.Text.Json;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.GpuWorker.Models;

namespace Pipeline.Bench.Peers;

/// <summary>How a peer consumes.</summary>
internal enum PeerKind
{
    /// <summary>One message per task, consumed one by one, several at a time.</summary>
    PerTask,

    /// <summary>One message per task, consumed through MassTransit's <c>Batch&lt;T&gt;</c>.</summary>
    Batch,
}

/// <summary>
/// What a good engineer would build in a day with the same libraries and the same durability: a door that publishes one persistent,
/// confirmed message per line, and a worker that runs the model and saves with EF Core. The door keeps many confirms in flight and the
/// worker many messages, so neither is held back on purpose.
/// </summary>
internal static class PeerProgram
{
    private const int PublishesInFlight = 256;
    private const ushort Prefetch = 512;
    private const int ConsumersAtOnce = 8;
    private const int BatchRows = 256;

    /// <summary>POST /tasks: publishes every NDJSON line of the body, then answers.</summary>
    public static async Task RunDoorAsync(Uri broker, CancellationToken stop)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(o => o.Limits.MaxRequestBodySize = null);
        builder.Services.AddHealthChecks();
        builder.Services.AddMassTransit(x =>
        {
            x.DisableUsageTelemetry();
            x.UsingRabbitMq((_, bus) => bus.Host(broker));
        });
        var app = builder.Build();
        app.MapHealthChecks("/healthz/ready");
        app.MapPost("/tasks", PublishLinesAsync);
        await app.RunAsync(stop);
    }

    /// <summary>Consumes, runs the model, saves.</summary>
    public static async Task RunWorkerAsync(PeerKind kind, Uri broker, string database, IModel model, CancellationToken stop)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.Services.AddHealthChecks();
        builder.Services.AddSingleton(new PeerModel(model));
        builder.Services.AddDbContextPool<PeerDb>(o => o.UseNpgsql(database));
        builder.Services.AddMassTransit(x =>
        {
            x.DisableUsageTelemetry();
            if (kind == PeerKind.PerTask)
            {
                x.AddConsumer<PerTaskConsumer>();
            }
            else
            {
                x.AddConsumer<BatchConsumer>(c =>
                    c.Options<BatchOptions>(o =>
                        o.SetMessageLimit(BatchRows).SetTimeLimit(TimeSpan.FromMilliseconds(50)).SetConcurrencyLimit(2)
                    )
                );
            }

            x.UsingRabbitMq(
                (context, bus) =>
                {
                    bus.Host(broker);
                    bus.ReceiveEndpoint(
                        "peer.tasks",
                        e =>
                        {
                            e.SetQuorumQueue();
                            e.PrefetchCount = Prefetch;
                            if (kind == PeerKind.PerTask)
                            {
                                e.ConcurrentMessageLimit = ConsumersAtOnce;
                                e.ConfigureConsumer<PerTaskConsumer>(context);
                            }
                            else
                            {
                                e.ConfigureConsumer<BatchConsumer>(context);
                            }
                        }
                    );
                }
            );
        });
        var app = builder.Build();
        app.MapHealthChecks("/healthz/ready");
        await app.RunAsync(stop);
    }

    private static async Task<IResult> PublishLinesAsync(HttpRequest request, IPublishEndpoint bus, CancellationToken stop)
    {
        using var reader = new StreamReader(request.Body, Encoding.UTF8);
        var published = 0;
        var inFlight = new List<Task>(PublishesInFlight);
        while (await reader.ReadLineAsync(stop) is { } line)
        {
            using var task = JsonDocument.Parse(line);
            var message = new PeerTask
            {
                CustomId = task.RootElement.GetProperty("custom_id").GetString()!,
                Input = task.RootElement.GetProperty("input").GetString()!,
            };
            inFlight.Add(bus.Publish(message, stop));
            published++;
            if (inFlight.Count == PublishesInFlight)
            {
                await Task.WhenAll(inFlight);
                inFlight.Clear();
            }
        }

        await Task.WhenAll(inFlight);
        return Results.Ok(published);
    }
}

/// <summary>The model behind a lock: one device, one caller at a time.</summary>
internal sealed class PeerModel(IModel model)
{
    private readonly Lock _device = new();

    public string[] Run(IReadOnlyList<string> texts)
    {
        var tasks = texts.Select(text => model.Prepare(Encoding.UTF8.GetBytes(text))).ToArray();
        lock (_device)
        {
            using var ran = model.Run(model.Pack(tasks), CancellationToken.None);
            return [.. texts.Select((_, row) => Encoding.UTF8.GetString(ran.Result(row).Bytes))];
        }
    }
}

internal sealed class PerTaskConsumer(PeerModel model, PeerDb db) : IConsumer<PeerTask>
{
    public async Task Consume(ConsumeContext<PeerTask> context)
    {
        var output = model.Run([context.Message.Input])[0];
        db.Results.Add(
            new PeerResult
            {
                CustomId = context.Message.CustomId,
                Output = output,
                FinishedAt = DateTimeOffset.UtcNow,
            }
        );
        await db.SaveChangesAsync(context.CancellationToken);
    }
}

internal sealed class BatchConsumer(PeerModel model, PeerDb db) : IConsumer<Batch<PeerTask>>
{
    public async Task Consume(ConsumeContext<Batch<PeerTask>> context)
    {
        var tasks = context.Message.Select(m => m.Message).ToArray();
        var outputs = model.Run([.. tasks.Select(task => task.Input)]);
        var now = DateTimeOffset.UtcNow;
        db.Results.AddRange(
            tasks.Select(
                (task, row) =>
                    new PeerResult
                    {
                        CustomId = task.CustomId,
                        Output = outputs[row],
                        FinishedAt = now,
                    }
            )
        );
        await db.SaveChangesAsync(context.CancellationToken);
    }
}
