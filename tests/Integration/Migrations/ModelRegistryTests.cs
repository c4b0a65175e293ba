using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class ModelRegistryTests : IAsyncLifetime
{
    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync() => _db = await TestPostgres.CreateDatabaseAsync();

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_model_is_read_as_it_was_put()
    {
        var manifest = Manifest("1.0.0");
        var profile = new ModelProfile
        {
            Provider = "cpu",
            Device = "test",
            Points = [new ProfilePoint(8, 512, 1_000_000)],
            AlphaNs = 1e5,
            BetaNs = 2.5,
            BatchDrift = 1e-6,
            MemoryBytes = 123,
        };

        await ModelRegistry.PutAsync(_db.DataSource, manifest, profile, 4567, makeCurrent: false);

        var read = Assert.Single(await ModelRegistry.ReadAllAsync(_db.DataSource));
        Assert.Equal(manifest.ToJson(), read.Manifest.ToJson());
        Assert.Equal(profile.Points, read.Profile!.Points);
        Assert.Equal((2.5, 4567, manifest.Sha256), (read.Profile.BetaNs, read.FileBytes, read.Sha256));
        Assert.True(read.Current, "the first version of a name answers for it");
    }

    [Fact]
    public async Task Only_one_version_of_a_name_is_current()
    {
        await PutAsync("1.0.0", makeCurrent: false);
        await PutAsync("2.0.0", makeCurrent: false);
        Assert.Equal("1.0.0", await CurrentAsync());

        await PutAsync("3.0.0", makeCurrent: true);
        Assert.Equal("3.0.0", await CurrentAsync());

        Assert.True(await ModelRegistry.SetCurrentAsync(_db.DataSource, new ModelRef("m", "2.0.0")));
        Assert.False(await ModelRegistry.SetCurrentAsync(_db.DataSource, new ModelRef("m", "9.9.9")));
        Assert.Equal("2.0.0", await CurrentAsync());
    }

    [Fact]
    public async Task Putting_a_version_again_replaces_it_and_keeps_it_current()
    {
        await PutAsync("1.0.0", makeCurrent: true);
        await ModelRegistry.PutAsync(_db.DataSource, Manifest("1.0.0"), null, 99, makeCurrent: false);

        var read = Assert.Single(await ModelRegistry.ReadAllAsync(_db.DataSource));
        Assert.Equal((99, true), (read.FileBytes, read.Current));
    }

    [Fact]
    public async Task Versions_put_at_the_same_time_leave_one_current()
    {
        await Task.WhenAll(Enumerable.Range(0, 6).Select(v => Task.Run(() => PutAsync($"{v}.0.0", makeCurrent: true))));

        Assert.Equal(6, (await ModelRegistry.ReadAllAsync(_db.DataSource)).Count);
        Assert.NotNull(await CurrentAsync());
    }

    private Task PutAsync(string version, bool makeCurrent) =>
        ModelRegistry.PutAsync(_db.DataSource, Manifest(version), null, 1, makeCurrent);

    private Task<string?> CurrentAsync() => _db.ScalarAsync<string>("SELECT version FROM models WHERE name = 'm' AND current");

    private static ModelManifest Manifest(string version) =>
        new()
        {
            Name = "m",
            Version = version,
            File = "model.onnx",
            Sha256 = new string('a', 64),
            Kind = ModelKind.Text,
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 512 },
            Inputs = new Dictionary<string, TensorSpec>
            {
                ["bytes"] = new()
                {
                    BatchAxis = 0,
                    Type = "int64",
                    Shape = [-1, -1],
                },
            },
            Outputs = new Dictionary<string, TensorSpec> { ["p"] = new() { BatchAxis = 0 } },
        };
}
