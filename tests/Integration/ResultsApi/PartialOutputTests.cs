using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;
using Pipeline.Tests.Integration.Ingest;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>A batch's output while it runs.</summary>
public sealed class PartialOutputTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;
    private ApiCaller _api = null!;
    private SeededJob _job = null!;
    private string _path = "";

    public async ValueTask InitializeAsync()
    {
        _api = await fixture.Host.AddTenantAsync();
        await ModelRegistry.PutAsync(_api.Database.DataSource, Model, profile: null, fileBytes: 1000, makeCurrent: true);
        _job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await using var batch = _api.Database.DataSource.CreateBatch();
        batch.BatchCommands.Add(BatchStore.Insert(Order(await UploadAsync())));
        await batch.ExecuteNonQueryAsync(Stop);
        var (_, shown) = await _api.GetAsync($"/v1/batches/{BatchIds.Of(_job.Id)}");
        _path = $"/v1/files/{shown.GetProperty("partial_output_file_id").GetString()}/content";
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task It_holds_the_lines_before_the_first_that_has_not_ended_and_grows()
    {
        Assert.Equal((HttpStatusCode.OK, ""), await GetAsync());
        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, (await GetAsync(0)).Status);

        // In chunks of four; the line of the last one has to wait for the third.
        await _job.EndAsync(_api.Database, 0, 1, 2, 5);
        var (_, first) = await GetAsync();
        Assert.Equal([0, 1, 2], Seqs(first));
        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, (await GetAsync(Encoding.UTF8.GetByteCount(first))).Status);

        await _job.EndAsync(_api.Database, [3], TaskOutcome.Failed);
        await _job.EndAsync(_api.Database, 4);
        var (status, more) = await GetAsync(Encoding.UTF8.GetByteCount(first));
        Assert.Equal(HttpStatusCode.PartialContent, status);
        Assert.Equal([4, 5], Seqs(more));
        Assert.Equal((HttpStatusCode.PartialContent, first[..7]), await GetAsync(0, 6));
        Assert.Equal((HttpStatusCode.OK, first + more), await GetAsync());
    }

    [Fact]
    public async Task It_is_what_the_output_file_begins_with_and_that_file_afterwards()
    {
        await _job.EndAsync(_api.Database, 0, 1, 2);
        var (_, partial) = await GetAsync();
        await _job.EndAsync(_api.Database, [.. Enumerable.Range(3, 7)]);
        await _api.Database.UntilAsync("SELECT finished_at IS NOT NULL FROM openai_batches WHERE job = $1", _job.Id.Value);

        var (_, batch) = await _api.GetAsync($"/v1/batches/{BatchIds.Of(_job.Id)}");
        var whole = await _api.Http.GetStringAsync($"/v1/files/{batch.GetProperty("output_file_id").GetString()}/content", Stop);
        Assert.StartsWith(partial, whole, StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.OK, whole), await GetAsync());
        Assert.False(batch.TryGetProperty("partial_output_file_id", out _));
    }

    [Fact]
    public async Task Nobody_elses_is_shown()
    {
        var other = await fixture.Host.AddTenantAsync();

        Assert.Equal(HttpStatusCode.NotFound, (await other.GetAsync(_path)).Status);
    }

    private async Task<(HttpStatusCode Status, string Body)> GetAsync(long? from = null, long? to = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, _path);
        request.Headers.Range = from is null ? null : new RangeHeaderValue(from, to);
        using var response = await _api.Http.SendAsync(request, Stop);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(Stop));
    }

    private static int[] Seqs(string lines) =>
        [
            .. lines
                .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => JsonElement.Parse(line).GetProperty("custom_id").GetString())
                .Select(id => Enumerable.Range(0, 10).First(seq => SeededJob.CustomId(seq) == id)),
        ];

    private async Task<FileId> UploadAsync()
    {
        var files = fixture.Host.Services.GetRequiredService<FileStore>();
        await using var writer = await files.CreateAsync(_api.Tenant, FilePurposes.Batch, "lines.jsonl", Stop);
        for (var seq = 0; seq < _job.Tasks; seq++)
        {
            var line = new
            {
                custom_id = SeededJob.CustomId(seq),
                method = "POST",
                url = "/v1/infer",
                body = new { model = Model.Name, input = "some text" },
            };
            await writer.WriteAsync((byte[])[.. JsonSerializer.SerializeToUtf8Bytes(line), (byte)'\n'], Stop);
        }

        return (await writer.CompleteAsync(FilePurposes.Batch, "lines.jsonl", null, Stop)).Id;
    }

    private BatchOrder Order(FileId input) =>
        new(
            _job.Id,
            _api.Tenant,
            "/v1/infer",
            input,
            "24h",
            DateTimeOffset.UtcNow.AddDays(1),
            LatencyClass.Bulk,
            "{}",
            3600,
            DateTimeOffset.UtcNow
        );

    private static ModelManifest Model { get; } =
        new()
        {
            Name = "language-id",
            Version = "1.0.0",
            File = "model.onnx",
            Sha256 = new string('0', 64),
            Kind = ModelKind.Text,
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 512 },
            Inputs = new Dictionary<string, TensorSpec> { ["bytes"] = new() { BatchAxis = 0 } },
            Outputs = new Dictionary<string, TensorSpec> { ["probabilities"] = new() { BatchAxis = 0 } },
        };
}
