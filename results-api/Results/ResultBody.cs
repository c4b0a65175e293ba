using System.IO.Compression;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// The body of a reply with results, compressed where the client takes it. It begins with the first bytes, so that until then a
/// lost database is still answered with 503; and unless it is finished it is aborted, so that a part never passes for the whole.
/// </summary>
internal sealed class ResultBody(HttpContext http) : IAsyncDisposable
{
    /// <summary>
    /// Nothing, packed (RFC 1952). Of a <see cref="GZipStream"/> to which nothing was written comes nothing at all, or a beginning without an end if
    /// it was flushed; who unpacks either finds it cut off.
    /// </summary>
    private static readonly byte[] NothingPacked = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    private Stream? _stream;
    private bool _hasBytes;
    private bool _finished;

    public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        _hasBytes |= bytes.Length > 0;
        return Begin().WriteAsync(bytes, stop);
    }

    /// <summary>Lets the reader have everything up to here, before a pause.</summary>
    public Task FlushAsync(CancellationToken stop)
    {
        var begun = Begin();
        return (_hasBytes ? begun : http.Response.Body).FlushAsync(stop);
    }

    public async Task FinishAsync(CancellationToken stop)
    {
        await FlushAsync(stop);
        _finished = true;
        if (_stream is GZipStream gzip)
        {
            await gzip.DisposeAsync();
            if (!_hasBytes)
            {
                await http.Response.Body.WriteAsync(NothingPacked, stop);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_stream is null || _finished)
        {
            return;
        }

        http.Abort();
        try
        {
            await _stream.DisposeAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // Its last bytes have nowhere to go.
        }
    }

    private Stream Begin()
    {
        if (_stream is not null)
        {
            return _stream;
        }

        var response = http.Response;
        response.ContentType = "application/x-ndjson";
        response.Headers.CacheControl = "no-store";
        response.Headers.Vary = HeaderNames.AcceptEncoding;
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        if (!AcceptsGzip(http.Request))
        {
            return _stream = response.Body;
        }

        response.Headers.ContentEncoding = "gzip";
        return _stream = new GZipStream(response.Body, CompressionLevel.Fastest, leaveOpen: true);
    }

    private static bool AcceptsGzip(HttpRequest request) =>
        request
            .GetTypedHeaders()
            .AcceptEncoding.Any(coding => coding.Value.Equals("gzip", StringComparison.OrdinalIgnoreCase) && coding.Quality is not 0);
}
