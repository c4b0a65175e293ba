using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Body;

/// <summary>Reads a small body that is one JSON object: what operators set.</summary>
internal static class ObjectBody
{
    private const int BytesMax = 64 * 1024;

    /// <returns>The object, or the problem to answer with.</returns>
    public static async Task<(JsonElement? Body, IResult? Problem)> ReadAsync(HttpContext http, Mistakes mistakes)
    {
        if (await WholeBody.ReadAsync(http.Request.Body, BytesMax, http.RequestAborted) is not { } bytes)
        {
            return (null, Problems.Result(FailureKind.InputTooLarge, $"The body expects at most {BytesMax} bytes."));
        }

        try
        {
            var json = JsonElement.Parse(bytes.Span);
            if (SurrogatePairs.HasHalfPair(json))
            {
                mistakes.Add(null, SurrogatePairs.Paired, SurrogatePairs.HalfPair);
            }
            else if (json.ValueKind == JsonValueKind.Object)
            {
                return (json, null);
            }
            else
            {
                mistakes.Add(null, "a JSON object", json.ValueKind.ToString().ToLowerInvariant());
            }
        }
        catch (JsonException e)
        {
            mistakes.Add(null, "a JSON object", $"what is none, in line {e.LineNumber + 1}");
        }

        return (null, Admission.Refuse(mistakes));
    }
}
