using System.Net;
using Microsoft.Playwright;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Tests.Support;
using RabbitMQ.Client;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>What operators do in the browser with workers, queues, models, routes and webhooks, and what comes of it in the database.</summary>
[Collection(RunningSystem.Collection)]
public sealed class FleetActionsTests(RunningSystem system, DashboardBrowser browser) : IAsyncLifetime
{
    private readonly string _name = $"fleet-{Guid.NewGuid():N}"[..20];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await browser.OpenAsync(system);

    public ValueTask DisposeAsync()
    {
        browser.AssertNoErrors();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_worker_is_drained_and_let_go_and_dead_letters_are_sent_again()
    {
        await SendDeadLetterAsync();
        await browser.LookAtAsync("workers");
        await browser.DoAsync(
            new("Send again", "Send up to 500 again", "1 messages were sent again.", "queue.redrive") { Row = Bus.DeadLetterQueue }
        );
        Assert.Equal("1", await system.ScalarAsync<string>("SELECT after ->> 'sent' FROM audit WHERE action = 'queue.redrive' AND done"));

        var worker = await system.ScalarAsync<Guid>("SELECT id FROM workers WHERE state = 'alive' ORDER BY id DESC LIMIT 1");
        await browser.DoAsync(new("Drain", "Drain", $"The worker {worker} is held.", "hold.set") { Row = $"{worker}" });
        Assert.Equal(1L, await HoldsAsync());
        await browser.LookHereAsync("workers-drained");
        await browser.DoAsync(new("Let go", "Let go", $"The worker {worker} goes on.", "hold.remove") { Row = $"{worker}" });
        Assert.Equal(0L, await HoldsAsync());

        Task<long> HoldsAsync() => system.ScalarAsync<long>("SELECT count(*) FROM holds WHERE kind = 'worker' AND name = $1", $"{worker}");
    }

    [Fact]
    public async Task A_model_is_switched_and_switched_back_and_a_route_is_set()
    {
        await HeldModel.RegisterAsync(system, _name, "1.0.0");
        await HeldModel.RegisterAsync(system, _name, "2.0.0");
        await browser.LookAtAsync("models", $"models/{_name}");
        foreach (var version in new[] { "1.0.0", "2.0.0" })
        {
            await browser.DoAsync(
                new("Switch", "Switch", $"is version {version} from now on", "model.use") { Fields = [("Answer with", version)] }
            );
            Assert.Equal(version, await system.ScalarAsync<string>("SELECT version FROM models WHERE name = $1 AND current", _name));
        }

        await browser.LookAtAsync("routes");
        foreach (var (form, least) in new[] { ("New route", 0.8), ("Variants", 0.9) })
        {
            var variants = $$"""
                [
                  { "model": "{{RunningSystem.SmallModel}}", "accept": { "probability_min": {{least}} } },
                  { "model": "language-id-large" }
                ]
                """;
            (string, string)[] named = form == "New route" ? [("Name", _name)] : [];
            await browser.DoAsync(
                new(form, "Set", "New jobs go along it from now on.", "route.set") { Fields = [.. named, ("Variants", variants)] }
            );
        }

        await browser.LookHereAsync("routes-one");
        var versions = await ModelRoutes.ReadVersionsAsync(system.Database, _name, Stop);
        Assert.Equal([0.9, 0.8], versions.Select(v => v.Route.Variants[0].Accept!.ProbabilityMin));
    }

    [Fact]
    public async Task What_a_webhook_missed_is_sent_again()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        receiver.Answer = static (_, http) => WebhookReceiver.Status(http, HttpStatusCode.Gone);
        using var client = await system.ClientOfAsync(_name);
        var made = await client.PostAsync("webhook_endpoints", new { url = receiver.Url() }, Stop);
        var endpoint = made.GetProperty("id").GetGuid();
        var job = await client.SendAsync(RunningSystem.SmallModel, RunningSystem.Texts(2));
        await client.UntilEndAsync(job);
        await UntilAsync("failed");
        receiver.Answer = static (_, http) => WebhookReceiver.Status(http, HttpStatusCode.NoContent);
        await client.PostAsync($"webhook_endpoints/{endpoint}/enable", null, Stop);

        await browser.LookAtAsync("webhooks", $"webhooks/{endpoint}");
        await browser.DoAsync(new("Send again", "Send all that failed again", "are sent again.", "webhook.replay"));
        await UntilAsync("delivered");

        Task UntilAsync(string state) =>
            system.UntilAsync("SELECT coalesce(bool_and(state = $2), false) FROM webhook_deliveries WHERE endpoint = $1", endpoint, state);
    }

    /// <summary>Text that is no message: the scheduler puts it aside again.</summary>
    private async Task SendDeadLetterAsync()
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(system.Rig.Options.Broker) }.CreateConnectionAsync(Stop);
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true), Stop);
        await channel.BasicPublishAsync("", Bus.DeadLetterQueue, mandatory: true, "?"u8.ToArray(), Stop);
    }
}
