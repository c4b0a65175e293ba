namespace Pipeline.StarterModels.Onnx;

/// <summary>A dimension of an input or output: a size, or a name for one that is known only when the model runs.</summary>
internal readonly record struct OnnxDim(long Size, string? Name)
{
    public static implicit operator OnnxDim(long size) => new(size, null);

    public static implicit operator OnnxDim(string name) => new(0, name);
}
