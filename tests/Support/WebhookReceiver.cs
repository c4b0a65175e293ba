using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Pipeline.Tests.Support;

/// <summary>One call as it came in.</summary>
internal sealed record ReceivedCall(string Path, IReadOnlyDictionary<string, string> Headers, byte[] Bytes, DateTimeOffset At)
{
    public string Id => Headers["webhook-id"];

    public JsonElement Body => JsonElement.Parse(Bytes);

    public string Type => Body.GetProperty("type").GetString()!;

    public string[] Signatures => Headers["webhook-signature"].Split(' ');

    /// <summary>True when one of its signatures is that of the secret; worked out here, not by the code under test.</summary>
    public bool IsSignedBy(string secret)
    {
        var content = Encoding.UTF8.GetBytes($"{Id}.{Headers["webhook-timestamp"]}.").Concat(Bytes).ToArray();
        var mac = HMACSHA256.HashData(Convert.FromBase64String(secret["whsec_".Length..]), content);
        return Signatures.Contains($"v1,{Convert.ToBase64String(mac)}");
    }
}

/// <summary>A receiver of webhooks on loopback that answers as a test wants, and can be stopped and started again at its port.</summary>
internal sealed class WebhookReceiver : IAsyncDisposable
{
    private readonly ConcurrentQueue<ReceivedCall> _calls = new();
    private readonly SemaphoreSlim _came = new(0);
    private WebApplication? _app;

    /// <summary>What it answers; by default 204.</summary>
    public Func<ReceivedCall, HttpContext, Task> Answer { get; set; } = static (_, http) => Status(http, HttpStatusCode.NoContent);

    public IReadOnlyCollection<ReceivedCall> Calls => _calls;

    public int Port { get; private set; }

    public string Url(string path = "/hook") => $"http://127.0.0.1:{Port}{path}";

    public static Task Status(HttpContext http, HttpStatusCode status)
    {
        http.Response.StatusCode = (int)status;
        return Task.CompletedTask;
    }

    public static async Task<WebhookReceiver> StartNewAsync()
    {
        var receiver = new WebhookReceiver();
        await receiver.StartAsync();
        return receiver;
    }

    public async Task StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{Port}");
        var app = builder.Build();
        app.Run(HandleAsync);
        await app.StartAsync();
        Port = new Uri(app.Urls.First()).Port;
        _app = app;
    }

    /// <summary>Waits until so many calls have come in all that hold, and returns them.</summary>
    public async Task<List<ReceivedCall>> UntilAsync(int count, Func<ReceivedCall, bool>? which = null, int secondsMax = 30)
    {
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(secondsMax));
        while (true)
        {
            var calls = _calls.Where(call => which?.Invoke(call) ?? true).ToList();
            if (calls.Count >= count)
            {
                return calls;
            }

            try
            {
                await _came.WaitAsync(late.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException(
                    $"{calls.Count} of {count} calls came within {secondsMax} s; all: {string.Join(", ", _calls.Select(call => call.Type))}."
                );
            }
        }
    }

    public async Task StopAsync()
    {
        if (_app is not null)
        {
            // Those which hang are thrown out.
            using var now = new CancellationTokenSource();
            await now.CancelAsync();
            await _app.StopAsync(now.Token);
            await _app.DisposeAsync();
            _app = null;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _came.Dispose();
    }

    private async Task HandleAsync(HttpContext http)
    {
        using var body = new MemoryStream();
        await http.Request.Body.CopyToAsync(body);
        var headers = http.Request.Headers.ToDictionary(
            header => header.Key,
            header => header.Value.ToString(),
            StringComparer.OrdinalIgnoreCase
        );
        var call = new ReceivedCall(http.Request.Path, headers, body.ToArray(), DateTimeOffset.UtcNow);
        _calls.Enqueue(call);
        _came.Release();
        await Answer(call, http);
    }
}
