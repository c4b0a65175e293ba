using Pipeline.Contracts;

namespace Pipeline.Tests.Support.Models;

/// <summary>Manifests in few words.</summary>
internal static class Manifests
{
    /// <summary>A manifest with what a test says and what every manifest needs.</summary>
    public static ModelManifest Describe(
        ModelKind kind,
        Dictionary<string, TensorSpec> inputs,
        Dictionary<string, TensorSpec> outputs,
        TokenizerSpec? tokenizer = null,
        ResultSpec? result = null,
        LimitSpec? limits = null,
        string name = "a-model"
    ) =>
        new()
        {
            Name = name,
            Version = "1.0.0",
            File = "model.onnx",
            Sha256 = "",
            Kind = kind,
            Tokenizer = tokenizer,
            Inputs = inputs,
            Outputs = outputs,
            Result = result ?? new ResultSpec(),
            Limits = limits ?? new LimitSpec(),
        };

    /// <summary>Along the given axis, or shared by the batch.</summary>
    public static TensorSpec Along(int? axis, double? pad = null) => new() { BatchAxis = axis, Pad = pad };
}
