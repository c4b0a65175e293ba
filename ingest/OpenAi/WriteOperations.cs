using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Express;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.Ingest.OpenAi;

/// <summary>What OpenAI's writes promise, for the API's document.</summary>
internal static class WriteOperations
{
    private static readonly IngestOptions Defaults = new();
    private static readonly IReadOnlyList<FailureKind> Waiting =
    [
        .. InferOperations.Refusals,
        .. InferOperations.Endings,
        FailureKind.IdempotencyInProgress,
        FailureKind.IdempotencyConflict,
    ];

    private const string Tiers =
        "`service_tier`: `priority` is express, `default` standard; a tier that is named is kept or refused. `auto`, or none, is express where that can be promised, else standard.";

    public static readonly ApiOperation Upload = new(
        "uploadFile",
        ApiTags.OpenAi,
        "Uploads a file.",
        $"Stored as it comes; nothing is left of a refused one. At most {Defaults.FileBytesMax:N0} bytes. A `batch` file is kept for 30 days where nothing else is said."
    )
    {
        Bodies =
        [
            new(
                "multipart/form-data",
                typeof(FileForm),
                "The parts in any order (RFC 7578).",
                "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"lines.jsonl\"\r\n\r\n"
                    + "{\"custom_id\": \"a-1\", \"method\": \"POST\", \"url\": \"/v1/moderations\", \"body\": {\"model\": \"language-id-small\", \"input\": \"Hallo\"}}\n\r\n--x--\r\n"
            ),
        ],
        Answers = [ApiAnswer.Json<FileView>("The file.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.RateLimited],
    };

    public static readonly ApiOperation DeleteFile = new(
        "deleteFile",
        ApiTags.OpenAi,
        "Removes a file.",
        "At once and for ever; not while an unfinished batch reads from it."
    )
    {
        Parameters = [ReadOperations.FileId],
        Answers = [ApiAnswer.Json<DeletedFile>("It is gone.")],
        Errors = [FailureKind.UnknownFile, FailureKind.InvalidState],
    };

    public static readonly ApiOperation CreateBatch = new(
        "createBatch",
        ApiTags.OpenAi,
        "Makes a batch of an uploaded file.",
        """
        Answers at once with a batch that is `validating`; its lines are read after, and it fails as a whole with what is wrong with them, or becomes a job.
        A line is `{"custom_id": "a-1", "method": "POST", "url": "/v1/embeddings", "body": {…}}`. `service_tier`: `priority` is express, `default` standard,
        `flex`, `auto` or none bulk. The metadata key `idempotency_key` stands for the header where a client cannot set one; `pipeline_group` names the group its lines belong to that name none of their own.
        """
    )
    {
        Parameters = [ApiParameters.IdempotencyKey],
        Bodies =
        [
            new(
                "application/json",
                typeof(BatchRequest),
                "At most 65,536 bytes.",
                """{"input_file_id": "file-019ac0ffee007000800000000000000a", "endpoint": "/v1/moderations", "completion_window": "24h"}"""
            ),
        ],
        Answers =
        [
            ApiAnswer.Json<BatchView>("The batch.") with
            {
                Headers = new Dictionary<string, string>(ApiParameters.Replayed) { ["Retry-After"] = "Seconds after which to look again." },
            },
        ],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.InputTooLarge,
            FailureKind.UnknownFile,
            FailureKind.IdempotencyInProgress,
            FailureKind.IdempotencyConflict,
        ],
    };

    public static readonly ApiOperation CancelBatch = new(
        "cancelBatch",
        ApiTags.OpenAi,
        "Cancels a batch.",
        "What has ended stays and is in its files, the rest ends as `batch_cancelled`. May be asked again."
    )
    {
        Parameters = [ReadOperations.BatchId],
        Answers = [ApiAnswer.Json<BatchView>("The batch as it is now.")],
        Errors = [FailureKind.UnknownBatch, FailureKind.InvalidState],
    };

    public static readonly ApiOperation RetryFailedBatch = new(
        "retryFailedBatch",
        ApiTags.OpenAi,
        "Makes a new batch of the lines that failed.",
        "Of a batch that has ended: its error file's lines, as they stood in the input file. Endpoint, tier and metadata are the old ones, with `retry_of` beside them; the old batch stays as it is."
    )
    {
        Parameters =
        [
            ReadOperations.BatchId,
            ApiParameter.Query(
                Pipeline.Ingest.OpenAi.RetryFailedBatch.Window,
                ApiType.Text(),
                "The new batch's window: `24h`, or any `<n>s`, `<n>m`, `<n>h`, `<n>d` up to 30 days. Default: as long as the old one's."
            ),
            ApiParameters.IdempotencyKey,
        ],
        Answers = [ApiAnswer.Json<BatchView>("The new batch, `validating`.") with { Headers = ApiParameters.Replayed }],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.UnknownBatch,
            FailureKind.InvalidState,
            FailureKind.IdempotencyInProgress,
            FailureKind.IdempotencyConflict,
        ],
    };

    public static readonly ApiOperation Embeddings = new(
        "createEmbeddings",
        ApiTags.OpenAi,
        "Embeds one or a few inputs while the caller waits.",
        $"Strings, or arrays of tokens: bytes, or ids of the vocabulary of a model with word pieces; at most {Defaults.ExpressInputsMax} of them. {Tiers}"
    )
    {
        Parameters = [ApiParameters.IdempotencyKey],
        Bodies =
        [
            new(
                "application/json",
                typeof(EmbeddingsRequest),
                $"At most {Defaults.ExpressBodyBytesMax:N0} bytes.",
                """{"model": "my-encoder", "input": ["a first text", "a second text"]}"""
            ),
        ],
        Answers =
        [
            ApiAnswer.Json<EmbeddingsAnswer>("The vectors, in the order of the inputs.") with
            {
                Headers = InferOperations.LimitsAndReplay,
            },
        ],
        Errors = Waiting,
    };

    public static readonly ApiOperation Moderations = new(
        "createModeration",
        ApiTags.OpenAi,
        "Classifies one or a few texts while the caller waits.",
        $"With a model that gives labels: `flagged` where a label that flags scores a half or more. At most {Defaults.ExpressInputsMax} inputs. {Tiers}"
    )
    {
        Parameters = [ApiParameters.IdempotencyKey],
        Bodies =
        [
            new(
                "application/json",
                typeof(ModerationsRequest),
                $"At most {Defaults.ExpressBodyBytesMax:N0} bytes.",
                """{"model": "language-id-small", "input": "Hallo"}"""
            ),
        ],
        Answers =
        [
            ApiAnswer.Json<ModerationsAnswer>("The labels, in the order of the inputs.") with
            {
                Headers = InferOperations.LimitsAndReplay,
            },
        ],
        Errors = Waiting,
    };
}

/// <summary>The parts of an upload.</summary>
internal sealed record FileForm
{
    /// <summary>The file's bytes.</summary>
    public required string File { get; init; }

    /// <summary>What it is for: <c>batch</c>, or one of OpenAI's other words.</summary>
    public required string Purpose { get; init; }

    [System.Text.Json.Serialization.JsonPropertyName("expires_after[anchor]")]
    public string? ExpiresAfterAnchor { get; init; }

    /// <summary>3600 to 2592000.</summary>
    [System.Text.Json.Serialization.JsonPropertyName("expires_after[seconds]")]
    public int? ExpiresAfterSeconds { get; init; }
}

/// <summary>The answer to a deletion.</summary>
internal sealed record DeletedFile(string Id, string Object, bool Deleted);

/// <summary>The shape of the body that makes a batch.</summary>
internal sealed record BatchRequest
{
    public required string InputFileId { get; init; }

    /// <summary><c>/v1/embeddings</c>, <c>/v1/moderations</c> or <c>/v1/infer</c>.</summary>
    public required string Endpoint { get; init; }

    /// <summary><c>24h</c>, or any <c>&lt;n&gt;s</c>, <c>&lt;n&gt;m</c>, <c>&lt;n&gt;h</c>, <c>&lt;n&gt;d</c> up to 30 days.</summary>
    public required string CompletionWindow { get; init; }
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }
    public OutputLife? OutputExpiresAfter { get; init; }
    public string? ServiceTier { get; init; }
}

/// <summary>How long output files are kept.</summary>
/// <param name="Seconds">3600 to 2592000, which is the default.</param>
internal sealed record OutputLife(int Seconds, string? Anchor = null);

/// <summary>The shape of a request for embeddings.</summary>
internal sealed record EmbeddingsRequest
{
    public required string Model { get; init; }

    /// <summary>A string, an array of tokens, or an array of these.</summary>
    public required JsonElement Input { get; init; }

    /// <summary><c>float</c> or <c>base64</c>.</summary>
    public string? EncodingFormat { get; init; }
    public int? Dimensions { get; init; }
    public string? User { get; init; }
    public string? ServiceTier { get; init; }

    /// <summary><c>pipeline_group</c>: the group the inputs belong to; no other key.</summary>
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }
}

/// <summary>The shape of an answer with embeddings.</summary>
internal sealed record EmbeddingsAnswer(string Object, IReadOnlyList<Embedding> Data, ModelRef Model, Usage Usage, string ServiceTier);

/// <param name="Vector">An array of numbers, or base64 of little-endian float32.</param>
internal sealed record Embedding(
    string Object,
    int Index,
    [property: System.Text.Json.Serialization.JsonPropertyName("embedding")] JsonElement Vector
);

/// <summary>What the inputs came to.</summary>
internal sealed record Usage(long PromptTokens, long TotalTokens);

/// <summary>The shape of a request for moderation.</summary>
internal sealed record ModerationsRequest
{
    public required string Model { get; init; }

    /// <summary>A string, or an array of them.</summary>
    public required JsonElement Input { get; init; }
    public string? ServiceTier { get; init; }

    /// <summary><c>pipeline_group</c>: the group the inputs belong to; no other key.</summary>
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }
}

/// <summary>The shape of an answer with labels.</summary>
internal sealed record ModerationsAnswer(string Id, IReadOnlyList<Moderation> Results, ModelRef Model, Usage Usage, string ServiceTier);

/// <summary>One text's labels.</summary>
internal sealed record Moderation(
    bool Flagged,
    IReadOnlyDictionary<string, bool> Categories,
    IReadOnlyDictionary<string, double> CategoryScores,
    IReadOnlyDictionary<string, IReadOnlyList<string>> CategoryAppliedInputTypes
);
