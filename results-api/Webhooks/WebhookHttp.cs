using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>What came of one request.</summary>
/// <param name="Status">Null where no answer came.</param>
/// <param name="Error">What went wrong, where it was not the status.</param>
/// <param name="Response">The beginning of the answer's body.</param>
/// <param name="RetryAfter">What the receiver asked for.</param>
/// <param name="Refused">True where our own rules forbid the address.</param>
internal sealed record AttemptResult(
    int? Status,
    string? Error,
    string? Response,
    TimeSpan Took,
    TimeSpan? RetryAfter = null,
    bool Refused = false
)
{
    public bool Succeeded => Status is >= 200 and <= 299;
}

/// <summary>
/// Calls receivers. The address that a host name resolves to is checked as the connection is opened, and that very address is connected to;
/// redirects are not followed, no proxy is asked; time, headers and what is read of a body are bounded.
/// </summary>
internal sealed class WebhookHttp : IDisposable
{
    private const int HeadersKilobytesMax = 16;
    private const int ErrorLengthMax = 500;
    private readonly WebhookAddresses _addresses;
    private readonly WebhookOptions _options;
    private readonly TimeProvider _time;
    private readonly Func<string, CancellationToken, Task<IPAddress[]>> _resolve;
    private readonly HttpMessageInvoker _http;

    public WebhookHttp(WebhookAddresses addresses, WebhookOptions options, TimeProvider time)
        : this(addresses, options, time, static (host, stop) => Dns.GetHostAddressesAsync(host, stop)) { }

    /// <param name="resolve">Finds the addresses of a host name.</param>
    internal WebhookHttp(
        WebhookAddresses addresses,
        WebhookOptions options,
        TimeProvider time,
        Func<string, CancellationToken, Task<IPAddress[]>> resolve
    )
    {
        (_addresses, _options, _time, _resolve) = (addresses, options, time, resolve);
        _http = new HttpMessageInvoker(
            new SocketsHttpHandler
            {
                AllowAutoRedirect = false,
                UseProxy = false,
                UseCookies = false,
                AutomaticDecompression = DecompressionMethods.None,
                ActivityHeadersPropagator = null,
                ConnectTimeout = options.RequestTimeMax,
                ConnectCallback = ConnectAsync,
                MaxResponseHeadersLength = HeadersKilobytesMax,
                // A body that is longer than what is kept is not read to its end: its connection is closed instead.
                MaxResponseDrainSize = 0,
                ResponseDrainTimeout = TimeSpan.Zero,
                // A name is resolved anew at least so often.
                PooledConnectionLifetime = TimeSpan.FromMinutes(2),
                PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
            }
        );
    }

    /// <summary>Sends a delivery once. Whatever goes wrong is in the result; only <paramref name="stop"/> throws.</summary>
    /// <exception cref="OperationCanceledException">The sender stops; nobody knows whether the receiver has it.</exception>
    public async Task<AttemptResult> SendAsync(ClaimedDelivery delivery, CancellationToken stop)
    {
        var began = Stopwatch.GetTimestamp();
        using var late = CancellationTokenSource.CreateLinkedTokenSource(stop);
        late.CancelAfter(_options.RequestTimeMax);
        int? status = null;
        TimeSpan? retryAfter = null;
        try
        {
            if (_addresses.Mistake(delivery.Url) is { } expected)
            {
                return Refused($"The address has to be {expected}.");
            }

            using var request = Request(delivery, _time.GetUtcNow());
            using var response = await _http.SendAsync(request, late.Token);
            status = (int)response.StatusCode;
            retryAfter = RetryAfter(response.Headers.RetryAfter);
            var text = await ReadAsync(response.Content, late.Token);
            return new AttemptResult(status, null, text, Stopwatch.GetElapsedTime(began), retryAfter);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            throw;
        }
        catch (Exception e) when (Find<AddressRefusedException>(e) is { } refused)
        {
            return Refused(refused.Message);
        }
        catch (OperationCanceledException)
        {
            // The status is the answer, even where the body never ends.
            var seconds = _options.RequestTimeMax.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
            return new AttemptResult(
                status,
                status is null ? $"No answer within {seconds} s." : $"The answer did not end within {seconds} s.",
                null,
                Stopwatch.GetElapsedTime(began),
                retryAfter
            );
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            return new AttemptResult(
                status,
                Excerpt(e.InnerException?.Message ?? e.Message),
                null,
                Stopwatch.GetElapsedTime(began),
                retryAfter
            );
        }

        AttemptResult Refused(string why) => new(null, Excerpt(why), null, Stopwatch.GetElapsedTime(began), Refused: true);
    }

    public void Dispose() => _http.Dispose();

    /// <summary>The headers of a delivery's request, signed by every key.</summary>
    public static IEnumerable<(string Name, string Value)> Headers(string id, long timestamp, byte[] body, IEnumerable<WebhookKey> keys) =>
        [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.ToString(CultureInfo.InvariantCulture)),
            ("webhook-signature", string.Join(' ', keys.Select(key => key.Sign(id, timestamp, body)))),
        ];

    private HttpRequestMessage Request(ClaimedDelivery delivery, DateTimeOffset now)
    {
        var body = Payload.Write(delivery.Payload, _options.PublicAddress);
        var request = new HttpRequestMessage(HttpMethod.Post, delivery.Url) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.TryAddWithoutValidation("User-Agent", "Pipeline-Webhooks/1.0");
        foreach (var (name, value) in Headers(Payload.IdOf(delivery.Id), now.ToUnixTimeSeconds(), body, delivery.Keys))
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return request;
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken stop)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var found = IPAddress.TryParse(host, out var literal) ? [literal] : await _resolve(host, stop);
        var allowed = found.Where(_addresses.MayCall).ToArray();
        if (allowed.Length == 0)
        {
            throw new AddressRefusedException(
                found.Length == 0
                    ? $"\"{host}\" has no address."
                    : $"\"{host}\" is {string.Join(", ", found.Take(4).Select(a => a.ToString()))}, which is not public and not allowed (Webhooks:AllowAddresses)."
            );
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, port, stop);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private async Task<string?> ReadAsync(HttpContent content, CancellationToken stop)
    {
        var bytes = new byte[_options.ResponseBytesMax + 1];
        await using var stream = await content.ReadAsStreamAsync(stop);
        var length = await stream.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, stop);
        var kept = Math.Min(length, _options.ResponseBytesMax);

        // PostgreSQL keeps no NUL in text.
        return kept == 0 ? null : Encoding.UTF8.GetString(bytes, 0, kept).Replace('\0', ' ');
    }

    private TimeSpan? RetryAfter(RetryConditionHeaderValue? header) =>
        header?.Delta ?? (header?.Date is { } date && date > _time.GetUtcNow() ? date - _time.GetUtcNow() : null);

    private static string Excerpt(string text) => text.Length <= ErrorLengthMax ? text : $"{text[..ErrorLengthMax]}…";

    private static T? Find<T>(Exception? error)
        where T : Exception => error as T ?? (error?.InnerException is { } inner ? Find<T>(inner) : null);

    /// <summary>Our own rules forbid the address.</summary>
    private sealed class AddressRefusedException(string message) : Exception(message);
}
