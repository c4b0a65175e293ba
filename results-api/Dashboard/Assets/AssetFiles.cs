using System.Collections.Frozen;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using Microsoft.Net.Http.Headers;

namespace Pipeline.ResultsApi.Dashboard.Assets;

/// <summary>
/// Style, scripts and the font, as they are built into the program. Their addresses carry a hash of what they hold, so browsers keep
/// them for good and never have an old one.
/// </summary>
public sealed class AssetFiles
{
    private const string Prefix = "dashboard/";

    private static readonly FrozenDictionary<string, string> Types = new Dictionary<string, string>
    {
        [".css"] = "text/css; charset=utf-8",
        [".js"] = "text/javascript; charset=utf-8",
        [".svg"] = "image/svg+xml",
        [".woff2"] = "font/woff2",
    }.ToFrozenDictionary();

    private readonly FrozenDictionary<string, Asset> _all;

    public AssetFiles()
    {
        var program = typeof(AssetFiles).Assembly;
        _all = program
            .GetManifestResourceNames()
            .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal))
            .ToFrozenDictionary(name => name[Prefix.Length..], name => Load(program, name));
    }

    /// <summary>Where browsers get the asset of that name.</summary>
    public string Path(string name) => $"{DashboardServices.Root}/assets/{name}?v={_all[name].Hash}";

    public IResult Get(string name, HttpContext http)
    {
        if (!_all.TryGetValue(name, out var asset))
        {
            return TypedResults.NotFound();
        }

        // The font is not named by its hash in the style sheet.
        http.Response.Headers.CacheControl =
            http.Request.Query["v"] == asset.Hash ? "public, max-age=31536000, immutable" : "public, max-age=86400";
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.Vary = HeaderNames.AcceptEncoding;
        var tag = new EntityTagHeaderValue($"\"{asset.Hash}\"");
        if (asset.Packed is not null && http.Request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase))
        {
            http.Response.Headers.ContentEncoding = "gzip";
            return TypedResults.Bytes(asset.Packed, asset.Type, entityTag: tag);
        }

        return TypedResults.Bytes(asset.Bytes, asset.Type, entityTag: tag);
    }

    private static Asset Load(Assembly program, string name)
    {
        using var stream = program.GetManifestResourceStream(name)!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        var extension = System.IO.Path.GetExtension(name);
        return new Asset(
            bytes,
            extension == ".woff2" ? null : Pack(bytes),
            Types[extension],
            Convert.ToHexStringLower(SHA256.HashData(bytes).AsSpan(0, 8))
        );
    }

    private static byte[] Pack(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Optimal))
        {
            gzip.Write(bytes);
        }

        return packed.ToArray();
    }

    private sealed record Asset(byte[] Bytes, byte[]? Packed, string Type, string Hash);
}
