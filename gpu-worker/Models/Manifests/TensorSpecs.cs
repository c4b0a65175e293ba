using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Manifests;

/// <summary>Reads what registration completed.</summary>
internal static class TensorSpecs
{
    /// <exception cref="InvalidOperationException">The manifest was not completed.</exception>
    public static TensorElementType ElementType(this TensorSpec spec) =>
        spec.Type is { } name && TensorElementTypes.TryParse(name, out var type)
            ? type
            : throw new InvalidOperationException($"The manifest has no element type ({spec.Type ?? "none"}); register the model first.");
}
