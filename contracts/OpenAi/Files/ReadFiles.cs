using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.OpenAi.OutputFiles;

namespace Pipeline.OpenAi.Files;

/// <summary>
/// <c>GET /v1/files</c>, <c>/v1/files/{id}</c> and <c>/v1/files/{id}/content</c>. Content is served whatever the client says it accepts, by
/// range, and with the file's SHA-256 as its ETag.
/// </summary>
internal static class ReadFiles
{
    public const int LimitMax = 10_000;

    public static void MapReadFiles(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/files", ListAsync).Describe(ReadOperations.ListFiles);
        v1.MapGet("/files/{id}", GetAsync).Describe(ReadOperations.GetFile);
        v1.MapGet("/files/{id}/content", ContentAsync).Describe(ReadOperations.GetFileContent);
    }

    public static ProblemResult Unknown(string id) => Problems.Result(FailureKind.UnknownFile, $"You have no file \"{id}\".", "id");

    private static async Task<IResult> ListAsync(HttpContext http, FileStore files)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, LimitMax) ?? LimitMax;
        var purpose = query.Words("purpose", FilePurposes.All);
        var order = query.Words("order", ["asc", "desc"]);
        var after = query.Value<FileId>("after", "the id of a file", text => FileId.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var read = await files.ListAsync(http.Tenant(), purpose?[0], after, order?[0] != "asc", limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(read.ConvertAll(FileView.Of), limit, file => file.Id), ApiJson.Options);
    }

    private static async Task<IResult> GetAsync(string id, HttpContext http, FileStore files) =>
        await FindAsync(id, http, files) is { } file ? TypedResults.Json(FileView.Of(file), ApiJson.Options) : Unknown(id);

    private static async Task<IResult> ContentAsync(string id, HttpContext http, FileStore files, PartialOutput partial) =>
        await FindAsync(id, http, files) is { } file ? Content(files, file)
        : FileId.TryParse(id, out var output) && await partial.AnswerAsync(http, output) is { } growing ? growing
        : Unknown(id);

    /// <summary>Answers with a file's bytes, or a range of them.</summary>
    public static IResult Content(FileStore files, StoredFile file)
    {
        var tag = new EntityTagHeaderValue($"\"{Convert.ToHexStringLower(file.Sha256)}\"");
        return TypedResults.Stream(
            files.Open(file),
            "application/octet-stream",
            file.Filename,
            entityTag: tag,
            enableRangeProcessing: true
        );
    }

    private static async Task<StoredFile?> FindAsync(string id, HttpContext http, FileStore files) =>
        FileId.TryParse(id, out var file) ? await files.FindAsync(http.Tenant(), file, http.RequestAborted) : null;
}
