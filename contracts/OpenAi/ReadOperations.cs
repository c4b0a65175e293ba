using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.OpenAi;

/// <summary>What OpenAI's reads promise, for the API's document.</summary>
internal static class ReadOperations
{
    private static readonly ApiType AnyFileId = ApiType.Text(pattern: "^file-[0-9a-f]{32}$");
    private static readonly ApiType AnyBatchId = ApiType.Text(pattern: "^batch_[0-9a-f]{32}$");

    public static readonly ApiParameter FileId = ApiParameter.Path("id", AnyFileId, "The file's id.");
    public static readonly ApiParameter BatchId = ApiParameter.Path("id", AnyBatchId, "The batch's id.");

    public static readonly ApiOperation ListFiles = new(
        "listFiles",
        ApiTags.OpenAi,
        "The caller's files.",
        "Page by page, newest first unless asked otherwise."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(ReadFiles.LimitMax, ReadFiles.LimitMax, "files"),
            ApiParameters.After(AnyFileId),
            ApiParameter.Query("order", ApiType.Word(["asc", "desc"], "desc"), "By time of making."),
            ApiParameter.Query("purpose", ApiType.Word(FilePurposes.All), "Only those for this purpose."),
        ],
        Answers = [ApiAnswer.Json<ListView<FileView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetFile = new("getFile", ApiTags.OpenAi, "A file's name, size and purpose.", "Not its content.")
    {
        Parameters = [FileId],
        Answers = [ApiAnswer.Json<FileView>("The file.")],
        Errors = [FailureKind.UnknownFile],
    };

    public static readonly ApiOperation GetFileContent = new(
        "getFileContent",
        ApiTags.OpenAi,
        "A file's bytes.",
        "Streamed, whatever `Accept` says. A download that broke off goes on with `Range`, and `If-Range` with the `ETag`. Of a batch that runs, `partial_output_file_id` is a file that grows: `Range: bytes=N-` gives what came after N bytes, at most 8 MiB, or 416 while that is nothing."
    )
    {
        Parameters =
        [
            FileId,
            ApiParameter.Header("Range", ApiType.Text(), "A range of bytes (RFC 9110)."),
            ApiParameter.Header("If-Range", ApiType.Text(), "The `ETag` the range belongs to."),
            ApiParameter.Header("If-None-Match", ApiType.Text(), "The `ETag` of what is there already."),
        ],
        Answers =
        [
            new(200, "application/octet-stream", null, "All of it.")
            {
                Headers = new Dictionary<string, string> { ["ETag"] = "Its SHA-256." },
            },
            new(206, "application/octet-stream", null, "The range.")
            {
                Headers = new Dictionary<string, string> { ["Content-Range"] = "Which bytes they are." },
            },
            new(304, null, null, "It is the one that is there already."),
            new(416, null, null, "The file has no such range."),
        ],
        Errors = [FailureKind.UnknownFile],
    };

    public static readonly ApiOperation ListBatches = new(
        "listBatches",
        ApiTags.OpenAi,
        "The caller's batches.",
        "Newest first, page by page."
    )
    {
        Parameters = [ApiParameters.Limit(ReadBatches.LimitMax, ReadBatches.LimitDefault, "batches"), ApiParameters.After(AnyBatchId)],
        Answers = [ApiAnswer.Json<ListView<BatchView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetBatch = new(
        "getBatch",
        ApiTags.OpenAi,
        "Where a batch stands.",
        "With its files once it has ended, when it should be done, and what it has cost. `job` is the same work under `/v1/jobs`."
    )
    {
        Parameters = [BatchId],
        Answers =
        [
            ApiAnswer.Json<BatchView>("The batch.") with
            {
                Headers = new Dictionary<string, string> { ["Retry-After"] = "Of an unfinished batch: seconds after which to look again." },
            },
        ],
        Errors = [FailureKind.UnknownBatch],
    };

    public static readonly ApiOperation ListModels = new(
        "listModels",
        ApiTags.OpenAi,
        "The registered models.",
        "Every version, with its manifest and what registration measured."
    )
    {
        Answers = [ApiAnswer.Json<ListView<ModelView>>("All of them.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetModel = new("getModel", ApiTags.OpenAi, "A registered model.", "With its manifest.")
    {
        Parameters =
        [
            ApiParameter.Path("model", ApiType.Text(), "`name`, for its current version, or `name@version`; slashes may stand in it."),
        ],
        Answers = [ApiAnswer.Json<ModelView>("The version.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownModel],
    };
}
