using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Migrations;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenAi;

/// <summary>A job's own address and endpoints hear of what the running system does; libraries from outside verify what they got.</summary>
[Collection(RunningSystem.Collection)]
public sealed class WebhookTests(RunningSystem system)
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Jobs_and_batches_are_told_and_OpenAIs_client_and_Standard_Webhooks_verify_it()
    {
        var node = Path.Combine(OpenAiSteps.Folder, "node");
        Assert.SkipUnless(
            Directory.Exists(Path.Combine(node, "node_modules", "standardwebhooks")),
            $"Run \"npm ci\" in {node}, or ./pipeline test."
        );
        await using var receiver = await WebhookReceiver.StartNewAsync();
        using var http = new HttpClient();
        // A tenant of its own: the batches of other tests are told to nobody here.
        var tenant = await Tenants.EnsureAsync(system.Database, "webhooks", Stop);
        var apiKey = await ApiKeyIssuer.IssueAsync(system.Database, tenant, "test", cancellationToken: Stop);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        var ofJobs = await PostAsync(http, system.Rig.Services.Results.Address, "v1/webhook_callback_secret", new { });
        var ofBatches = await PostAsync(
            http,
            system.Rig.Services.Results.Address,
            "v1/webhook_endpoints",
            new { url = receiver.Url("/batches"), event_types = (string[])["batch.completed"] }
        );
        var publicly = await PostAsync(
            http,
            system.Rig.Services.Results.Address,
            "v1/webhook_endpoints",
            new
            {
                url = receiver.Url("/ed25519"),
                event_types = (string[])["batch.completed"],
                signing = "ed25519",
            }
        );

        using var body = new StringContent("{\"custom_id\":\"a\",\"input\":\"hello\"}\n", Encoding.UTF8, "application/x-ndjson");
        var job = await ReadAsync(
            await http.PostAsync(
                new Uri(system.Ingest.Address, $"v1/jobs?model={RunningSystem.SmallModel}&class=standard&webhook={receiver.Url("/job")}"),
                body,
                Stop
            )
        );
        var batch = await SendBatchAsync(http);

        var calls = (await receiver.UntilAsync(3, secondsMax: 60)).ToDictionary(call => call.Path);
        Assert.Equal(job.GetProperty("id").GetString(), calls["/job"].Body.GetProperty("data").GetProperty("job").GetString());
        Assert.Equal(batch, calls["/batches"].Body.GetProperty("data").GetProperty("id").GetString());
        await VerifyAsync(
            node,
            JsonSerializer.Serialize(
                new[] { Witnessed(calls["/job"], ofJobs), Witnessed(calls["/batches"], ofBatches), Witnessed(calls["/ed25519"], publicly) }
            )
        );
    }

    private static object Witnessed(ReceivedCall call, JsonElement key) =>
        new
        {
            secret = key.TryGetProperty("secret", out var secret) ? secret.GetString() : null,
            public_key = key.GetProperty("public_key").GetString(),
            headers = call.Headers.ToDictionary(h => h.Key.ToLowerInvariant(), h => h.Value),
            body = Encoding.UTF8.GetString(call.Bytes),
        };

    private static async Task VerifyAsync(string folder, string calls)
    {
        using var node = Process.Start(
            new ProcessStartInfo("node", "webhooks.mjs")
            {
                WorkingDirectory = folder,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            }
        )!;
        await node.StandardInput.WriteAsync(calls.AsMemory(), Stop);
        node.StandardInput.Close();
        var output = node.StandardOutput.ReadToEndAsync(Stop);
        var errors = node.StandardError.ReadToEndAsync(Stop);
        await node.WaitForExitAsync(Stop);
        Assert.True(node.ExitCode == 0, $"{await output}\n{await errors}");
        Assert.Contains("every call held", await output, StringComparison.Ordinal);
    }

    private async Task<string?> SendBatchAsync(HttpClient http)
    {
        var line = new
        {
            custom_id = "one",
            method = "POST",
            url = "/v1/embeddings",
            body = new { model = SlowEncoder.Name, input = "alpha" },
        };
        using var form = new MultipartFormDataContent
        {
            { new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(line)), "file", "in.jsonl" },
            { new StringContent("batch"), "purpose" },
        };
        var file = await ReadAsync(await http.PostAsync(new Uri(system.Ingest.Address, "v1/files"), form, Stop));
        var order = new
        {
            input_file_id = file.GetProperty("id").GetString(),
            endpoint = "/v1/embeddings",
            completion_window = "24h",
        };
        return (await PostAsync(http, system.Ingest.Address, "v1/batches", order)).GetProperty("id").GetString();
    }

    private static async Task<JsonElement> PostAsync(HttpClient http, Uri address, string path, object body)
    {
        using var content = new StringContent(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json");
        return await ReadAsync(await http.PostAsync(new Uri(address, path), content, Stop));
    }

    private static async Task<JsonElement> ReadAsync(HttpResponseMessage response)
    {
        using (response)
        {
            var text = await response.Content.ReadAsStringAsync(Stop);
            Assert.True(response.IsSuccessStatusCode, text);
            return JsonElement.Parse(text);
        }
    }
}
