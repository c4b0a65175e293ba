using System.IO.Compression;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Body;

/// <summary>Opens a request's body: as long as it likes to be, unpacked where it is packed.</summary>
internal static class BodyStream
{
    /// <summary>The plain bytes, or null with a mistake told where the encoding is not one we know.</summary>
    public static Stream? Open(HttpContext http, Mistakes mistakes)
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = null;
        }

        var body = http.Request.Body;
        switch (http.Request.Headers.ContentEncoding.ToString().Trim().ToLowerInvariant())
        {
            case "" or "identity":
                return body;
            case "gzip" or "x-gzip":
                return new GZipStream(body, CompressionMode.Decompress);
            case "deflate":
                return new ZLibStream(body, CompressionMode.Decompress);
            case "br":
                return new BrotliBody(body);
            case var other:
                mistakes.Add("Content-Encoding", "gzip, deflate, br or none", $"\"{Excerpt.Of(other)}\"");
                return null;
        }
    }
}
