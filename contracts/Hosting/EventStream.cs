using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Pipeline.Hosting;

/// <summary>Writes server-sent events (HTML standard, section 9.2). A write waits while the reader is slower; nothing is queued.</summary>
public sealed class EventStream(HttpResponse response)
{
    /// <summary>How soon a browser should come back, in milliseconds.</summary>
    private const int RetryMs = 2000;

    /// <summary>Sends the headers and the pace of coming back.</summary>
    public Task BeginAsync(CancellationToken stop)
    {
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-store";
        // nginx gathers replies unless it is told not to.
        response.Headers["X-Accel-Buffering"] = "no";
        response.HttpContext.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        return WriteAsync($"retry: {RetryMs}\n\n", stop);
    }

    /// <param name="id">Where to go on after it; an event without one leaves the reader's place as it was.</param>
    /// <param name="data">One line.</param>
    public Task SendAsync(string type, string? id, string data, CancellationToken stop) =>
        WriteAsync($"event: {type}\n{(id is null ? "" : $"id: {id}\n")}data: {data}\n\n", stop);

    /// <summary>A comment, which keeps proxies from closing a silent connection.</summary>
    public Task HeartbeatAsync(CancellationToken stop) => WriteAsync(": still here\n\n", stop);

    private async Task WriteAsync(string text, CancellationToken stop)
    {
        await response.Body.WriteAsync(Encoding.UTF8.GetBytes(text), stop);
        await response.Body.FlushAsync(stop);
    }
}
