using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using OpenAI;
using OpenAI.Batch;
using OpenAI.Embeddings;
using OpenAI.Files;
using OpenAI.Models;
using OpenAI.Moderations;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenAi;

/// <summary>NuGet's <c>OpenAI</c>, unchanged: the stricter of the two official clients (200 alone creates, unknown words throw).</summary>
[Collection(RunningSystem.Collection)]
public sealed class DotNetClientTests(RunningSystem system)
{
    private OpenAIFileClient Files => Client().GetOpenAIFileClient();

    private BatchClient Batches => Client().GetBatchClient();

    [Fact]
    public async Task A_batch_goes_from_upload_to_download()
    {
        var file = await UploadAsync(Line("one", "alpha"), Line("two", "beta"));
        Assert.Equal((FilePurpose.Batch, "in.txt"), (file.Purpose, file.Filename));

        var operation = await CreateAsync(file.Id, waitUntilCompleted: true);

        var batch = await StatusAsync(operation);
        Assert.Equal("completed", batch.GetProperty("status").GetString());
        Assert.Equal(2, batch.GetProperty("request_counts").GetProperty("completed").GetInt32());
        var output = (await Files.DownloadFileAsync(batch.GetProperty("output_file_id").GetString()!, Stop)).Value.ToString();
        var ids = output.Trim().Split('\n').Select(line => JsonElement.Parse(line).GetProperty("custom_id").GetString());
        Assert.Equal(["one", "two"], ids);
        Assert.True((await Files.DeleteFileAsync(file.Id, Stop)).Value.Deleted);
    }

    [Fact]
    public async Task A_batch_is_cancelled_and_looked_up_and_lists_have_pages()
    {
        var file = await UploadAsync([
            .. Enumerable.Range(0, 3000).Select(i => Line($"c-{i}", $"to be cancelled {i} {new string('x', 90)}")),
        ]);
        var operation = await CreateAsync(file.Id);

        await operation.CancelAsync(Options());
        var clock = Stopwatch.StartNew();
        JsonElement batch;
        while ((batch = await StatusAsync(operation)).GetProperty("status").GetString() is not "cancelled")
        {
            Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), $"It is not cancelled: {batch}");
            await Task.Delay(100, Stop);
        }

        var listed = new List<string>();
        await foreach (var each in Batches.GetBatchesAsync(new BatchCollectionOptions { PageSizeLimit = 2 }, Stop))
        {
            listed.Add(each.Id);
        }

        Assert.Contains(operation.BatchId, listed);
        Assert.Equal(listed.Count, listed.Distinct().Count());
        Assert.Contains((await Files.GetFilesAsync(FilePurpose.Batch, Stop)).Value, each => each.Id == file.Id);
    }

    [Fact]
    public async Task Embeddings_and_moderations_are_answered_while_the_caller_waits()
    {
        string[] texts = ["The moon is far.", "Der Mond ist weit."];

        // As the client asks by itself: base64.
        var packed = (await Client().GetEmbeddingClient(SlowEncoder.Name).GenerateEmbeddingsAsync(texts, cancellationToken: Stop)).Value;
        var moderation = await Client()
            .GetModerationClient(RunningSystem.SmallModel)
            .ClassifyTextAsync(BinaryContent.CreateJson(new { model = RunningSystem.SmallModel, input = texts }), Options());

        using var direct = system.Direct(SlowEncoder.Name);
        Assert.Equal(texts.Length, packed.Count);
        Assert.All(packed, embedding => Assert.Equal(64, embedding.ToFloats().Length));
        Assert.All(packed, embedding => Assert.Equal(1, Math.Sqrt(embedding.ToFloats().ToArray().Sum(x => (double)x * x)), 1e-3));
        Assert.Equal(texts.Sum(text => text.Length), packed.Usage.InputTokenCount);
        var results = JsonElement.Parse(moderation.GetRawResponse().Content.ToString()).GetProperty("results");
        Assert.True(results[1].GetProperty("category_scores").GetProperty("de").GetDouble() > 0.5);
        Assert.Contains(
            (await Client().GetOpenAIModelClient().GetModelsAsync(Stop)).Value,
            model => model.Id.StartsWith(SlowEncoder.Name, StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task Errors_are_the_clients_own()
    {
        var embeddings = Client().GetEmbeddingClient(SlowEncoder.Name);
        Task Embed(string input) => embeddings.GenerateEmbeddingsAsync([input], cancellationToken: Stop);

        await AssertFailsAsync(400, "invalid_input", () => Embed(""));
        await AssertFailsAsync(401, "invalid_api_key", () => Client("wrong").GetOpenAIModelClient().GetModelsAsync(Stop));
        await AssertFailsAsync(404, "file_not_found", () => Files.GetFileAsync("file-00000000000000000000000000000000", Stop));
        await AssertFailsAsync(
            404,
            "model_not_found",
            () => Client().GetEmbeddingClient("no-such").GenerateEmbeddingsAsync(["x"], cancellationToken: Stop)
        );
        var done = await CreateAsync((await UploadAsync(Line("a", "b"))).Id, waitUntilCompleted: true);
        await AssertFailsAsync(409, "invalid_state", () => done.CancelAsync(Options()));
        var key = $"dotnet-{Guid.NewGuid()}";
        var file = await UploadAsync(Line("k", "v"));
        var first = await CreateAsync(file.Id, key: key);
        Assert.Equal(first.BatchId, (await CreateAsync(file.Id, key: key)).BatchId);
        await AssertFailsAsync(422, "idempotency_key_reused", () => CreateAsync(file.Id, window: "2h", key: key));
        var limited = await system.StartLimitedIngestAsync();
        var impatient = Client(retries: 0, address: new Uri(limited.Address, "v1")).GetEmbeddingClient(SlowEncoder.Name);
        await AssertFailsAsync(
            429,
            "rate_limited",
            () => Task.WhenAll(Enumerable.Range(0, 4).Select(_ => impatient.GenerateEmbeddingsAsync(["x"], cancellationToken: Stop)))
        );
        limited.Kill();
    }

    [Fact]
    public async Task Another_tenants_file_and_batch_are_unknown()
    {
        var file = await UploadAsync(Line("a", "b"));
        var batch = await CreateAsync(file.Id);
        var other = await Tenants.EnsureAsync(system.Database, "another", Stop);
        var key = await ApiKeyIssuer.IssueAsync(system.Database, other, "another", cancellationToken: Stop);

        await AssertFailsAsync(404, "file_not_found", () => Client(key).GetOpenAIFileClient().GetFileAsync(file.Id, Stop));
        await AssertFailsAsync(404, "file_not_found", () => Client(key).GetOpenAIFileClient().DownloadFileAsync(file.Id, Stop));
        await AssertFailsAsync(404, "file_not_found", () => CreateAsync(file.Id, client: Client(key).GetBatchClient()));
        await AssertFailsAsync(
            404,
            "batch_not_found",
            () => CreateBatchOperation.RehydrateAsync(Client(key).GetBatchClient(), batch.BatchId, Stop)
        );
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static RequestOptions Options() => new() { CancellationToken = Stop };

    private static string Line(string id, string input) =>
        JsonSerializer.Serialize(
            new
            {
                custom_id = id,
                method = "POST",
                url = "/v1/embeddings",
                body = new { model = SlowEncoder.Name, input },
            }
        );

    private OpenAIClient Client(string? key = null, int retries = 3, Uri? address = null) =>
        new(
            new ApiKeyCredential(key ?? system.Rig.ApiKey),
            new OpenAIClientOptions { Endpoint = address ?? system.OpenAiAddress(), RetryPolicy = new ClientRetryPolicy(retries) }
        );

    private async Task<OpenAIFile> UploadAsync(params string[] lines) =>
        (await Files.UploadFileAsync(BinaryData.FromString(string.Join("\r\n", lines)), "in.txt", FileUploadPurpose.Batch)).Value;

    private async Task<CreateBatchOperation> CreateAsync(
        string file,
        bool waitUntilCompleted = false,
        string window = "24h",
        string? key = null,
        BatchClient? client = null
    )
    {
        var body = BinaryContent.CreateJson(
            new
            {
                input_file_id = file,
                endpoint = "/v1/embeddings",
                completion_window = window,
            }
        );
        var options = Options();
        if (key is not null)
        {
            options.SetHeader("Idempotency-Key", key);
        }

        return await (client ?? Batches).CreateBatchAsync(body, waitUntilCompleted, options);
    }

    private static async Task<JsonElement> StatusAsync(CreateBatchOperation operation) =>
        JsonElement.Parse((await operation.GetBatchAsync(Options())).GetRawResponse().Content.ToString());

    private static async Task AssertFailsAsync(int status, string code, Func<Task> call)
    {
        var error = await Assert.ThrowsAsync<ClientResultException>(call);
        Assert.Equal(status, error.Status);
        Assert.Contains(code, error.Message, StringComparison.Ordinal);
        Assert.True(error.GetRawResponse()!.Headers.TryGetValue("x-request-id", out _), "No x-request-id.");
    }
}
