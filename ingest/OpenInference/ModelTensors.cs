using Pipeline.Contracts;

namespace Pipeline.Ingest.OpenInference;

/// <summary>One input or output of a model as the protocol shows it: the whole batch, −1 where any size will do.</summary>
/// <param name="BatchAxis">Where the rows are stacked; null for a tensor that all rows share.</param>
internal sealed record ModelTensor(string Name, TensorElementType Type, IReadOnlyList<long> Shape, int? BatchAxis)
{
    /// <summary>The shape for people, <c>any</c> where it may vary.</summary>
    public string ShapeText => $"[{string.Join(", ", Shape.Select(d => d < 0 ? "any" : $"{d}"))}]";

    /// <summary>True for the model's rank and fixed dimensions; the others take 1 or more.</summary>
    public bool Takes(IReadOnlyList<long> shape) =>
        shape.Count == Shape.Count && shape.Zip(Shape).All(dim => dim.Second < 0 ? dim.First >= 1 : dim.First == dim.Second);
}

/// <summary>
/// What a model takes and gives, in tensors. A text model takes <c>text</c>, BYTES of shape [n]. Raw outputs are the graph's own. Of an
/// embedding model <c>embedding</c> is FP32 of shape [n, size]; of a model with labels only the best are kept, best first, as
/// <c>labels</c>, BYTES, and <c>scores</c>, FP32, both of shape [n, k].
/// </summary>
internal sealed class ModelTensors
{
    public const string Text = "text";
    public const string Embedding = "embedding";
    public const string Labels = "labels";
    public const string Scores = "scores";

    private ModelTensors(IReadOnlyList<ModelTensor> inputs, IReadOnlyList<ModelTensor> outputs) => (Inputs, Outputs) = (inputs, outputs);

    public IReadOnlyList<ModelTensor> Inputs { get; }

    public IReadOnlyList<ModelTensor> Outputs { get; }

    /// <exception cref="InvalidOperationException">The manifest was not completed by registration.</exception>
    public static ModelTensors Of(ModelManifest model) =>
        new(
            model.Kind == ModelKind.Text ? [new(Text, TensorElementType.String, [-1], 0)] : [.. model.Inputs.Select(Graph)],
            model.Result.Type switch
            {
                ResultType.Labels => Best(Numbers(model), model.Result.TopK),
                ResultType.Embedding => [new(Embedding, TensorElementType.Float32, [-1, Numbers(model)], 0)],
                _ => [.. model.Outputs.Select(Graph)],
            }
        );

    private static ModelTensor[] Best(long labels, int topK)
    {
        var count = labels < 0 ? -1 : Math.Min(labels, topK);
        return [new(Labels, TensorElementType.String, [-1, count], 0), new(Scores, TensorElementType.Float32, [-1, count], 0)];
    }

    private static ModelTensor Graph(KeyValuePair<string, TensorSpec> tensor)
    {
        var (name, spec) = tensor;
        if (spec.Type is not { } type || !TensorElementTypes.TryParse(type, out var parsed) || spec.Shape is not { } shape)
        {
            throw new InvalidOperationException($"The manifest says no type and shape of \"{name}\"; register the model again.");
        }

        return new ModelTensor(name, parsed, [.. shape.Select((dim, axis) => axis == spec.BatchAxis ? -1 : dim)], spec.BatchAxis);
    }

    /// <summary>How many numbers the result is made from, or its vector has; −1 where the graph does not say.</summary>
    private static long Numbers(ModelManifest model)
    {
        var from = model.Result.From ?? model.Outputs.Keys.FirstOrDefault() ?? "";
        if (!model.Outputs.TryGetValue(from, out var spec) || spec.Shape is null)
        {
            return -1;
        }

        var shape = model.Result.Pooling == Pooling.None ? spec.TaskShape() : [.. spec.TaskShape().TakeLast(1)];
        return shape.Any(dim => dim < 0) ? -1 : shape.Aggregate(1L, (product, dim) => product * dim);
    }
}
