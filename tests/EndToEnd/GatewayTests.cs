using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Tests.EndToEnd.Dashboard;
using Pipeline.Tests.EndToEnd.Standalone;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>The API through the gateway of the Compose file: a real nginx before the running system.</summary>
[Collection(RunningSystem.Collection)]
public sealed class GatewayTests(RunningSystem system) : IAsyncLifetime
{
    private GatewayServer? _gateway;
    private PipelineClient? _client;
    private HttpClient? _http;

    private PipelineClient Client => _client!;

    private HttpClient Http => _http!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _gateway = await GatewayServer.StartAsync([system.Ingest.Address], [system.Rig.Services.Results.Address], Stop);
        _client = new PipelineClient(_gateway.Address, _gateway.Address, system.Rig.ApiKey);
        _http = new HttpClient { BaseAddress = _gateway.Address };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", system.Rig.ApiKey);
    }

    public async ValueTask DisposeAsync()
    {
        _client?.Dispose();
        _http?.Dispose();
        if (_gateway is not null)
        {
            await _gateway.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_job_is_sent_followed_and_read_at_one_address()
    {
        Assert.True(await Client.IsReadyAsync(Stop));
        var job = await Client.SendAsync(RunningSystem.SmallModel, RunningSystem.Texts(300));

        Assert.Contains("event: job.completed", await Http.GetStringAsync($"v1/jobs/{job.Id}/events", Stop), StringComparison.Ordinal);
        using var direct = system.Direct(RunningSystem.SmallModel);
        await Client.AssertOutputsAsync(job, direct);
    }

    [Fact]
    public async Task Events_are_passed_on_when_they_happen()
    {
        // What is held does not end by itself.
        var model = $"held-{Guid.NewGuid():N}";
        await HeldModel.RegisterAsync(system, model, "1.0.0");
        using var operators = new HttpClient { BaseAddress = _gateway!.Address };
        operators.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", await system.OperatorKeyAsync());
        using var held = await operators.PutAsJsonAsync(
            $"v1/holds/model/{model}",
            new { reason = "The test follows a job that waits.", by = "test" },
            Stop
        );
        Assert.True((await held.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("in_force").GetBoolean());
        var job = await Client.SendAsync(model, RunningSystem.Texts(1));

        using var events = await Http.GetAsync($"v1/jobs/{job.Id}/events", HttpCompletionOption.ResponseHeadersRead, Stop);
        using var lines = new StreamReader(await events.Content.ReadAsStreamAsync(Stop));
        Assert.Equal("text/event-stream", events.Content.Headers.ContentType?.MediaType);
        Assert.StartsWith("retry:", await lines.ReadLineAsync(Stop), StringComparison.Ordinal);

        using var cancelled = await Http.PostAsync($"v1/jobs/{job.Id}/cancel", null, Stop);
        Assert.Equal(HttpStatusCode.OK, cancelled.StatusCode);
        Assert.Contains("event: job.cancelled", await lines.ReadToEndAsync(Stop), StringComparison.Ordinal);
        (await operators.DeleteAsync($"v1/holds/model/{model}", Stop)).Dispose();
    }

    [Fact]
    public async Task An_answer_comes_to_who_waits()
    {
        var answer = await Client.InferAsync(
            new
            {
                model = RunningSystem.SmallModel,
                input = "Guten Morgen",
                @class = "express",
                fallback = "standard",
            },
            Stop
        );
        var id = answer.GetProperty("id").GetString();
        Assert.Equal("succeeded", Assert.Single(answer.GetProperty("results").EnumerateArray()).GetProperty("status").GetString());

        using var again = await Http.GetAsync($"v1/infer/{id}", Stop);
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
        using var model = await Http.GetAsync($"v2/models/{RunningSystem.SmallModel}", Stop);
        Assert.Equal(HttpStatusCode.OK, model.StatusCode);
    }

    [Fact]
    public async Task A_key_that_the_tool_issues_opens_it()
    {
        var issued = (await ToolRun.RunAsync("keys", "add", "second", "--tenant", "acme", "--database", system.Rig.Options.Database)).Ended(
            0
        );
        using var client = new PipelineClient(_gateway!.Address, _gateway.Address, Assert.Single(issued.Lines));

        Assert.Empty((await client.ListJobsAsync("limit=1", Stop)).Data);
        (await ToolRun.RunAsync("keys", "add", "")).Ended(ExitCode.Usage);
    }

    [Fact]
    public async Task A_large_file_goes_up_and_comes_down_as_it_was()
    {
        var bytes = RandomNumberGenerator.GetBytes(32 * 1024 * 1024);
        using var form = new MultipartFormDataContent
        {
            { new ByteArrayContent(bytes), "file", "lines.jsonl" },
            { new StringContent("batch"), "purpose" },
        };
        using var uploaded = await Http.PostAsync("v1/files", form, Stop);
        var file = JsonElement.Parse(await uploaded.Content.ReadAsStringAsync(Stop));

        Assert.Equal(bytes.Length, file.GetProperty("bytes").GetInt64());
        var content = await Http.GetByteArrayAsync($"v1/files/{file.GetProperty("id").GetString()}/content", Stop);
        Assert.True(bytes.AsSpan().SequenceEqual(content));
    }

    [Fact]
    public async Task A_body_is_passed_on_while_it_still_comes()
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(_gateway!.Address.Host, _gateway.Address.Port, Stop);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(
            Encoding.ASCII.GetBytes(
                "POST /v1/jobs?model=any HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer none\r\nContent-Length: 1000000000\r\n\r\n{"
            ),
            Stop
        );

        // The rest of the body never comes. Who gathers it first would wait for it.
        using var late = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        using var reader = new StreamReader(stream);
        Assert.Equal("HTTP/1.1 401 Unauthorized", await reader.ReadLineAsync(late.Token));
    }

    [Fact]
    public async Task What_is_not_the_API_is_refused_with_a_problem_body()
    {
        string[] paths =
        [
            "/metrics",
            "//metrics",
            "/v1/%2e%2e/metrics",
            "/v1/..%2fmetrics",
            "/metrics/..%2fv1/jobs",
            "/nothing",
            "/v1/nothing",
        ];
        foreach (var path in paths)
        {
            var address = new Uri(
                $"{_gateway!.Address.GetLeftPart(UriPartial.Authority)}{path}",
                new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }
            );
            using var reply = await Http.GetAsync(address, Stop);
            await AssertProblemAsync(reply, FailureKind.UnknownRoute);
        }
    }

    [Fact]
    public async Task When_one_of_two_ingests_dies_requests_go_to_the_other()
    {
        var second = system.Rig.Services.Start("ingest", "Pipeline.Ingest.dll", 0);
        await second.UntilReadyAsync(TimeSpan.FromSeconds(60), Stop);
        await using var gateway = await GatewayServer.StartAsync(
            [system.Ingest.Address, second.Address],
            [system.Rig.Services.Results.Address],
            Stop
        );
        using var client = new PipelineClient(gateway.Address, gateway.Address, system.Rig.ApiKey);

        await SendAsync();
        second.Kill();
        await SendAsync();

        // By turns to one and the other. Sending fails the test when one is not accepted.
        async Task SendAsync()
        {
            for (var i = 0; i < 4; i++)
            {
                await client.SendAsync(RunningSystem.SmallModel, RunningSystem.Texts(1));
            }
        }
    }

    [Fact]
    public async Task Where_no_service_answers_it_says_so_and_when_to_come_back()
    {
        var nobody = new Uri($"http://127.0.0.1:{Ports.Free()}");
        await using var gateway = await GatewayServer.StartAsync([nobody], [nobody], Stop);
        using var http = new HttpClient { BaseAddress = gateway.Address };

        using var write = await http.PostAsync("v1/jobs", new StringContent("{}"), Stop);
        using var read = await http.GetAsync("v1/jobs", Stop);
        using var ready = await http.GetAsync("healthz/ready", Stop);
        using var protocol = await http.GetAsync("v2", Stop);

        await AssertProblemAsync(write, FailureKind.Unavailable);
        await AssertProblemAsync(read, FailureKind.Unavailable);
        await AssertProblemAsync(ready, FailureKind.Unavailable);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, protocol.StatusCode);
        Assert.Equal(
            JsonValueKind.String,
            JsonElement.Parse(await protocol.Content.ReadAsStringAsync(Stop)).GetProperty("error").ValueKind
        );
        Assert.All([write, read, ready, protocol], reply => Assert.True(reply.Headers.RetryAfter?.Delta > TimeSpan.Zero));
    }

    private static async Task AssertProblemAsync(HttpResponseMessage reply, FailureKind kind)
    {
        var info = kind.Info();
        Assert.Equal(info.HttpStatus, (int)reply.StatusCode);
        Assert.Equal("application/problem+json", reply.Content.Headers.ContentType?.MediaType);
        Assert.StartsWith("req_", Assert.Single(reply.Headers.GetValues("x-request-id")), StringComparison.Ordinal);
        var body = JsonElement.Parse(await reply.Content.ReadAsStringAsync(Stop));
        Assert.Equal(info.Code, body.GetProperty("code").GetString());
        Assert.Equal(info.Code, body.GetProperty("error").GetProperty("code").GetString());
    }
}
