using System.Text.Json.Nodes;

namespace Pipeline.Standalone.OpenApi;

/// <summary>
/// Examples, taken from real answers: the files of <c>Examples/</c>, named by operation and status (<c>getJob.200.json</c>) or, of errors,
/// by code (<c>problem.job_not_found.json</c>).
/// </summary>
internal static class Examples
{
    private const string Prefix = "example/";

    /// <summary>The answer of that operation with that status, or null.</summary>
    public static string? Find(string operation, int status, string mediaType) =>
        Read(FormattableString.Invariant($"{operation}.{status}.{Extension(mediaType)}"))?.TrimEnd('\n') is { } text
            ? mediaType == "text/event-stream" || mediaType.EndsWith("ndjson", StringComparison.Ordinal)
                ? $"{text}\n"
                : text
            : null;

    /// <summary>A problem body with that code, or null.</summary>
    public static JsonNode? OfProblem(string code) => Read($"problem.{code}.json") is { } text ? JsonNode.Parse(text) : null;

    private static string Extension(string mediaType) =>
        mediaType switch
        {
            "application/json" => "json",
            "application/x-ndjson" => "ndjson",
            _ => "txt",
        };

    private static string? Read(string name)
    {
        using var file = typeof(Examples).Assembly.GetManifestResourceStream($"{Prefix}{name}");
        if (file is null)
        {
            return null;
        }

        using var reader = new StreamReader(file);
        return reader.ReadToEnd();
    }
}
