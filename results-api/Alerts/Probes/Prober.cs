using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Npgsql;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>
/// Sends the probes that are due through the public door, as a client would, and records what became of them. A probe that an instance took and
/// did not record, since it died, is sent again when it is next due.
/// </summary>
internal sealed partial class Prober(ProbeStore store, ProbeOptions options, TimeProvider time, ILogger<Prober> log) : BackgroundService
{
    private const int ErrorMax = 500;
    private readonly HttpClient _http = new() { Timeout = options.TimeMax, MaxResponseContentBufferSize = 1024 * 1024 };

    public override void Dispose()
    {
        _http.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (options.Reach && !stoppingToken.IsCancellationRequested)
        {
            try
            {
                await TurnAsync(stoppingToken);
            }
            catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
            {
                LogAway(log, e.Message);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            await Task.Delay(options.LookEvery, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Sends what is due, and returns how many that were.</summary>
    internal async Task<int> TurnAsync(CancellationToken stop)
    {
        var due = await store.TakeDueAsync(options.RequestsMax, stop);
        await Task.WhenAll(
            due.Select(async probe =>
            {
                var at = time.GetUtcNow();
                await store.RecordAsync(probe.Name, at, await SendAsync(probe, stop), stop);
            })
        );
        return due.Count;
    }

    private async Task<ProbeOutcome> SendAsync(DueProbe probe, CancellationToken stop)
    {
        var began = time.GetTimestamp();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(new Uri(options.Address), "/v1/infer"))
        {
            Content = new StringContent(
                JsonSerializer.Serialize(
                    new
                    {
                        model = probe.Model,
                        @class = probe.Class,
                        input = probe.Input,
                    }
                ),
                Encoding.UTF8,
                "application/json"
            ),
        };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", options.ApiKey);
        try
        {
            using var response = await _http.SendAsync(request, stop);
            var text = await response.Content.ReadAsStringAsync(stop);
            return Judge(probe, response.StatusCode, text, time.GetElapsedTime(began));
        }
        catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            var took = time.GetElapsedTime(began);
            return new ProbeOutcome(
                ProbeOutcome.Failed,
                (int)took.TotalMilliseconds,
                Detail: e is HttpRequestException ? Cut(e.Message) : $"No answer within {options.TimeMax.TotalSeconds} s."
            );
        }
    }

    /// <summary>What an answer of the door means.</summary>
    internal static ProbeOutcome Judge(DueProbe probe, HttpStatusCode status, string text, TimeSpan took)
    {
        var ms = (int)took.TotalMilliseconds;
        if (status == HttpStatusCode.TooManyRequests)
        {
            return new ProbeOutcome(ProbeOutcome.Refused, ms, Detail: Cut(text));
        }

        try
        {
            var answer = JsonElement.Parse(text);
            if (status != HttpStatusCode.OK || !answer.TryGetProperty("results", out var results) || results.GetArrayLength() != 1)
            {
                return new ProbeOutcome(ProbeOutcome.Failed, ms, Detail: Cut($"{(int)status}: {text}"));
            }

            var model = answer.TryGetProperty("model", out var answered) ? answered.GetString() : null;
            if (!results[0].TryGetProperty("output", out var output) || output.ValueKind == JsonValueKind.Null)
            {
                return new ProbeOutcome(ProbeOutcome.Failed, ms, model, Cut(results[0].GetRawText()));
            }

            return ProbeAnswer.Mistake(probe.Expect, output, probe.Tolerance) is { } mistake
                    ? new ProbeOutcome(ProbeOutcome.Wrong, ms, model, Cut(mistake))
                : took > probe.Slow ? new ProbeOutcome(ProbeOutcome.Slow, ms, model)
                : new ProbeOutcome(ProbeOutcome.Right, ms, model);
        }
        catch (JsonException)
        {
            return new ProbeOutcome(ProbeOutcome.Failed, ms, Detail: Cut($"{(int)status}: {text}"));
        }
    }

    private static string Cut(string text) => text.Length <= ErrorMax ? text : $"{text[..ErrorMax]}…";

    [LoggerMessage(90, LogLevel.Warning, "Probes could not be taken or recorded, and will be again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);
}
