using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>
/// What a model is and how its tasks are fed to it: <c>model.json</c> beside the model file. Registration completes it from the
/// graph (element types and shapes), so that the door can check a task without opening the model.
/// </summary>
public sealed record ModelManifest
{
    public required string Name { get; init; }
    public required string Version { get; init; }

    /// <summary>File name of the ONNX model, relative to the manifest.</summary>
    public required string File { get; init; }

    /// <summary>SHA-256 of the file, lower-case hex.</summary>
    public required string Sha256 { get; init; }
    public required ModelKind Kind { get; init; }
    public TokenizerSpec? Tokenizer { get; init; }
    public required IReadOnlyDictionary<string, TensorSpec> Inputs { get; init; }
    public required IReadOnlyDictionary<string, TensorSpec> Outputs { get; init; }
    public ResultSpec Result { get; init; } = new();
    public LimitSpec Limits { get; init; } = new();

    [JsonIgnore]
    public ModelRef Ref => new(Name, Version);

    /// <summary>How manifests are read and written: snake_case names, unknown fields refused so that a typo is seen.</summary>
    public static JsonSerializerOptions Json { get; } =
        new()
        {
            PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
            DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
            UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
            ReadCommentHandling = JsonCommentHandling.Skip,
            AllowTrailingCommas = true,
            WriteIndented = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        };

    /// <exception cref="JsonException">The text is not a manifest; the message names the field.</exception>
    public static ModelManifest Parse(ReadOnlySpan<byte> utf8) =>
        JsonSerializer.Deserialize<ModelManifest>(utf8, Json) ?? throw new JsonException("A manifest is a JSON object, given null.");

    public string ToJson() => JsonSerializer.Serialize(this, Json);
}

/// <summary>What a task's input is.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ModelKind>))]
public enum ModelKind
{
    /// <summary>Named tensors, without the batch axis.</summary>
    [JsonStringEnumMemberName("tensor")]
    Tensor,

    /// <summary>A string, which the tokenizer turns into tensors.</summary>
    [JsonStringEnumMemberName("text")]
    Text,
}

/// <summary>How text becomes tokens.</summary>
public sealed record TokenizerSpec
{
    public required TokenizerType Type { get; init; }

    /// <summary>Tokens at most (special tokens included); what is longer is cut.</summary>
    public required int MaxLength { get; init; }

    /// <summary><c>wordpiece</c>: the vocabulary file beside the manifest, one token a line.</summary>
    public string? Vocab { get; init; }

    /// <summary><c>wordpiece</c>: fold case and strip accents, as BERT's uncased models do.</summary>
    public bool LowerCase { get; init; } = true;

    /// <summary>Names of the graph's inputs for <c>ids</c>, <c>mask</c> and <c>types</c>; by default BERT's own names, where the graph has them.</summary>
    public IReadOnlyDictionary<string, string>? Inputs { get; init; }
}

[JsonConverter(typeof(JsonStringEnumConverter<TokenizerType>))]
public enum TokenizerType
{
    /// <summary>The UTF-8 bytes themselves, padded with 0.</summary>
    [JsonStringEnumMemberName("bytes")]
    Bytes,

    /// <summary>BERT's basic tokenisation and greedy longest-match word pieces (Devlin et al., 2019).</summary>
    [JsonStringEnumMemberName("wordpiece")]
    WordPiece,
}

/// <summary>One input or output of the graph.</summary>
public sealed record TensorSpec
{
    /// <summary>The axis along which tasks are stacked; null marks a tensor shared by the whole batch.</summary>
    public int? BatchAxis { get; init; }

    /// <summary>
    /// Value that fills a shorter task up to the batch's longest along its dynamic dimensions. Absent: tasks of different shapes
    /// never share a batch.
    /// </summary>
    public double? Pad { get; init; }

    /// <summary>Element type by name (<c>float32</c>); completed from the graph.</summary>
    public string? Type { get; init; }

    /// <summary>The graph's whole shape, batch axis included, −1 where dynamic; completed from the graph.</summary>
    public IReadOnlyList<long>? Shape { get; init; }

    /// <summary>Names of the dynamic dimensions ("" where unnamed): an output's padded dimension is cut by its name; completed from the graph.</summary>
    public IReadOnlyList<string>? Symbols { get; init; }

    /// <summary>Shape of one task's tensor: the graph's shape without the batch axis.</summary>
    /// <exception cref="InvalidOperationException">The manifest was not completed by registration.</exception>
    public IReadOnlyList<long> TaskShape()
    {
        var shape = Shape ?? throw new InvalidOperationException("The manifest has no shapes; register the model first.");
        return BatchAxis is { } axis ? [.. shape.Where((_, i) => i != axis)] : shape;
    }
}

/// <summary>What becomes of the outputs.</summary>
public sealed record ResultSpec
{
    public ResultType Type { get; init; } = ResultType.Raw;

    /// <summary>The output it is made from; by default the first.</summary>
    public string? From { get; init; }

    /// <summary><c>labels</c>: file beside the manifest, one label a line.</summary>
    public string? Labels { get; init; }

    /// <summary><c>labels</c>: how many of the best are returned.</summary>
    public int TopK { get; init; } = 1;

    /// <summary><c>labels</c>: apply softmax to the output (it is logits).</summary>
    public bool Softmax { get; init; }

    /// <summary><c>labels</c>: those that flag a text in <c>/v1/moderations</c>, from a score of a half on; by default every label does.</summary>
    public IReadOnlyList<string>? Flagged { get; init; }

    /// <summary><c>embedding</c>: how token vectors become one vector.</summary>
    public Pooling Pooling { get; init; } = Pooling.None;

    /// <summary><c>embedding</c>: scale to unit length (L2).</summary>
    public bool Normalize { get; init; }

    /// <summary>
    /// <c>embedding</c>: so many numbers at the front of the vector, or more, are an embedding by themselves, since the model was trained that
    /// way (Matryoshka representation learning, Kusupati et al. 2022). A caller may then ask for fewer <c>dimensions</c>; by default none may.
    /// </summary>
    public int? DimensionsMin { get; init; }
}

[JsonConverter(typeof(JsonStringEnumConverter<ResultType>))]
public enum ResultType
{
    /// <summary>All outputs as tensors.</summary>
    [JsonStringEnumMemberName("raw")]
    Raw,

    /// <summary>The best labels with their scores.</summary>
    [JsonStringEnumMemberName("labels")]
    Labels,

    /// <summary>One vector.</summary>
    [JsonStringEnumMemberName("embedding")]
    Embedding,
}

[JsonConverter(typeof(JsonStringEnumConverter<Pooling>))]
public enum Pooling
{
    /// <summary>The output is one vector already.</summary>
    [JsonStringEnumMemberName("none")]
    None,

    /// <summary>Mean over the tokens that are not padding.</summary>
    [JsonStringEnumMemberName("mean")]
    Mean,

    /// <summary>The first token's vector.</summary>
    [JsonStringEnumMemberName("cls")]
    Cls,
}

/// <summary>Bounds that hold for the model, whatever the scheduler would like.</summary>
public sealed record LimitSpec
{
    public int BatchRowsMax { get; init; } = 256;
    public long PaddedUnitsMax { get; init; } = 65_536;

    /// <summary>Bytes of one task's input as stored.</summary>
    public int InputBytesMax { get; init; } = 4 * 1024 * 1024;
}

/// <summary>What registration measured: seeds the cost model, and says how far batching moves results.</summary>
public sealed record ModelProfile
{
    public required string Provider { get; init; }
    public required string Device { get; init; }
    public required IReadOnlyList<ProfilePoint> Points { get; init; }

    /// <summary>Fixed device time of a batch in nanoseconds (α).</summary>
    public required double AlphaNs { get; init; }

    /// <summary>Device time of one padded unit in nanoseconds (β).</summary>
    public required double BetaNs { get; init; }

    /// <summary>Largest absolute difference between a row alone and the same row in a batch.</summary>
    public required double BatchDrift { get; init; }

    /// <summary>Bytes the loaded session took.</summary>
    public required long MemoryBytes { get; init; }
}

/// <summary>Median device time of a batch of that size.</summary>
public sealed record ProfilePoint(int Rows, long PaddedUnits, long DeviceNs);
