using System.Text.Json.Serialization;
using Pipeline.Contracts;

namespace Pipeline.OpenAi.Files;

/// <summary>A whole file, as it is stored.</summary>
internal sealed record StoredFile(
    FileId Id,
    string Purpose,
    string Filename,
    long Bytes,
    int PartBytes,
    byte[] Sha256,
    DateTimeOffset CreatedAt,
    DateTimeOffset? ExpiresAt
);

/// <summary>A file as OpenAI's clients read it. They refuse a <c>purpose</c> or <c>status</c> they do not know.</summary>
internal sealed record FileView
{
    public required string Id { get; init; }
    public string Object { get; } = "file";
    public required long Bytes { get; init; }

    /// <summary>Unix seconds, as the other.</summary>
    public required long CreatedAt { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public required long? ExpiresAt { get; init; }
    public required string Filename { get; init; }
    public required string Purpose { get; init; }
    public string Status { get; } = "processed";

    public static FileView Of(StoredFile file) =>
        new()
        {
            Id = file.Id.ToString(),
            Bytes = file.Bytes,
            CreatedAt = file.CreatedAt.ToUnixTimeSeconds(),
            ExpiresAt = file.ExpiresAt?.ToUnixTimeSeconds(),
            Filename = file.Filename,
            Purpose = file.Purpose,
        };
}

/// <summary>What a file may be for, in the words both official clients know; another word makes the .NET one throw.</summary>
internal static class FilePurposes
{
    public const string Batch = "batch";
    public const string BatchOutput = "batch_output";

    /// <summary>Those a client may upload for.</summary>
    public static readonly IReadOnlyList<string> Uploaded = [Batch, "user_data", "assistants", "fine-tune", "vision", "evals"];

    /// <summary>All that a list may be asked for.</summary>
    public static readonly IReadOnlyList<string> All = [.. Uploaded, BatchOutput];
}
