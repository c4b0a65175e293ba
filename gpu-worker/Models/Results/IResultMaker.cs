using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>Makes a task's output from the graph's outputs; one implementation per <see cref="ResultType"/>.</summary>
internal interface IResultMaker
{
    /// <exception cref="OnnxRuntime.OnnxRuntimeException">An output does not have the shape that the result needs.</exception>
    TaskOutput Make(BatchOutputs outputs, int row);
}

internal static class ResultMakers
{
    /// <summary>Names of the outputs a result needs, in the order the maker reads them.</summary>
    public static IReadOnlyList<string> OutputsOf(ModelManifest manifest) =>
        manifest.Result.Type == ResultType.Raw ? [.. manifest.Outputs.Keys] : [manifest.Result.From ?? manifest.Outputs.Keys.First()];

    public static IResultMaker Create(ResultSpec result, IReadOnlyList<string> labels) =>
        result.Type switch
        {
            ResultType.Labels => new LabelsResult(labels, result.TopK, result.Softmax),
            ResultType.Embedding => new EmbeddingResult(result.Pooling, result.Normalize),
            _ => new RawResult(),
        };
}
