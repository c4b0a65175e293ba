using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Standalone.Client;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>A model that no worker has, held at the dashboard: its jobs wait until it is let go.</summary>
internal sealed class HeldModel : IAsyncDisposable
{
    private readonly RunningSystem _system;
    private readonly DashboardBrowser _browser;
    private readonly string _name;

    private HeldModel(RunningSystem system, DashboardBrowser browser, string name) => (_system, _browser, _name) = (system, browser, name);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public static async Task<HeldModel> HoldAsync(RunningSystem system, DashboardBrowser browser, string name)
    {
        await RegisterAsync(system, name, "1.0.0");
        await browser.GoAsync("workers");
        await browser.DoAsync(
            new("Hold", "Hold", $"The model {name} is held.", "hold.set") { Fields = [("Hold a", "model"), ("Name, or id", name)] }
        );
        var held = new HeldModel(system, browser, name);
        Assert.Equal(1L, await held.CountAsync());
        return held;
    }

    /// <summary>Registers a model that has no file.</summary>
    public static async Task RegisterAsync(RunningSystem system, string name, string version)
    {
        // What a tokenizer is to the door.
        var manifest = new FakeModel(new ModelRef(name, version), 16).Manifest with
        {
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 512 },
        };
        await ModelRegistry.PutAsync(system.Database, manifest, null, 1, makeCurrent: true, Stop);
    }

    public async ValueTask DisposeAsync()
    {
        await _browser.GoAsync("workers");
        await _browser.DoAsync(new("Let go", "Let go", $"The model {_name} goes on.", "hold.remove") { Row = _name });
        Assert.Equal(0L, await CountAsync());
    }

    /// <summary>A job of ten tasks in the group of the model's name.</summary>
    public async Task<Guid> SubmitAsync(PipelineClient client, string deadline = "20h")
    {
        var lines = RunningSystem
            .Texts(10)
            .Select((text, i) => JsonSerializer.Serialize(new { custom_id = $"t-{i}", input = text }) + "\n");
        using var content = new StringContent(string.Concat(lines));
        content.Headers.ContentType = new("application/x-ndjson");
        var job = await client.SubmitAsync(
            content,
            [new("model", _name), new("class", "bulk"), new("group", _name), new("deadline", deadline)],
            null,
            Stop
        );
        return Guid.Parse(job.Id);
    }

    private Task<long> CountAsync() => _system.ScalarAsync<long>("SELECT count(*) FROM holds WHERE kind = 'model' AND name = $1", _name);
}
