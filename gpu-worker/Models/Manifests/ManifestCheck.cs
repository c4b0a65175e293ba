using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Packing;
using Pipeline.GpuWorker.Models.Tokenizers;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Manifests;

/// <summary>Holds a manifest against the graph it describes, and completes it with the types, shapes and symbols found there.</summary>
internal static class ManifestCheck
{
    /// <param name="folder">The manifest and what lies beside it.</param>
    /// <param name="inputs">The graph's inputs.</param>
    /// <param name="outputs">The graph's outputs.</param>
    /// <exception cref="InvalidModelException">The two do not fit; all contradictions are told at once.</exception>
    public static ModelManifest Complete(ModelFolder folder, IReadOnlyList<TensorInfo> inputs, IReadOnlyList<TensorInfo> outputs)
    {
        var manifest = folder.Manifest;
        var mistakes = new List<ModelMistake>();
        var completedInputs = CompleteAll("inputs", manifest.Inputs, inputs, mistakes);
        foreach (var missing in inputs.Where(input => !manifest.Inputs.ContainsKey(input.Name)))
            Mistake($"inputs.{missing.Name}", $"every input of the graph ({Names(inputs)})", "none of that name");
        ThrowIfAny();

        var fixedRows = FixedRows(completedInputs, mistakes);
        var completedOutputs = CompleteAll("outputs", manifest.Outputs, outputs, mistakes);
        if (fixedRows == 0)
            completedOutputs = completedOutputs.ToDictionary(entry => entry.Key, entry => Unfix(entry.Value));
        if (completedInputs.Values.All(spec => spec.BatchAxis is null))
            Mistake("inputs", "a batch_axis in at least one of them", "none: tasks could not be stacked");
        if (manifest.Limits.BatchRowsMax < fixedRows)
            Mistake("limits.batch_rows_max", $"at least {fixedRows}, the graph's fixed batch", $"{manifest.Limits.BatchRowsMax}");
        ThrowIfAny();

        var completed = manifest with { Inputs = completedInputs, Outputs = completedOutputs };
        CheckText(folder, completed, mistakes);
        CheckResult(folder, completed, mistakes);
        ThrowIfAny();
        return completed;

        void Mistake(string field, string expected, string given) =>
            mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, field, expected, given));

        void ThrowIfAny()
        {
            if (mistakes.Count > 0)
                throw new InvalidModelException(mistakes);
        }
    }

    /// <summary>Rows that every batch must have, or 0 where any number goes.</summary>
    public static int FixedRows(ModelManifest completed) => FixedRows(completed.Inputs, []);

    private static int FixedRows(IReadOnlyDictionary<string, TensorSpec> inputs, List<ModelMistake> mistakes)
    {
        var rows = 0L;
        foreach (var (name, spec) in inputs)
        {
            if (spec.BatchAxis is not { } axis || spec.Shape![axis] < 0)
                continue;
            if (rows > 0 && spec.Shape[axis] != rows)
                mistakes.Add(
                    new ModelMistake(
                        ModelFolder.ManifestFile,
                        $"inputs.{name}.batch_axis",
                        $"a dimension of {rows} as in the inputs before",
                        $"{spec.Shape[axis]}"
                    )
                );
            rows = spec.Shape[axis];
        }
        return checked((int)rows);
    }

    private static Dictionary<string, TensorSpec> CompleteAll(
        string section,
        IReadOnlyDictionary<string, TensorSpec> specs,
        IReadOnlyList<TensorInfo> graph,
        List<ModelMistake> mistakes
    )
    {
        var completed = new Dictionary<string, TensorSpec>(specs.Count);
        foreach (var (name, spec) in specs)
        {
            if (graph.FirstOrDefault(tensor => tensor.Name == name) is { } tensor)
                completed[name] = Complete($"{section}.{name}", spec, tensor, mistakes);
            else
                mistakes.Add(
                    new ModelMistake(
                        ModelFolder.ManifestFile,
                        $"{section}.{name}",
                        $"one of the graph's {section} ({Names(graph)})",
                        $"\"{name}\""
                    )
                );
        }
        return completed;
    }

    private static TensorSpec Complete(string field, TensorSpec spec, TensorInfo tensor, List<ModelMistake> mistakes)
    {
        if (tensor.Kind != OnnxValueKind.Tensor)
        {
            Mistake("", "a tensor", $"a {tensor.Kind.ToString().ToLowerInvariant()}; leave it out, or export the model without it");
            return spec;
        }
        var rank = tensor.Shape.Length;
        if (spec.BatchAxis is { } axis && (axis < 0 || axis >= rank))
            Mistake(".batch_axis", rank == 0 ? "none, as the graph has a scalar here" : $"0 to {rank - 1}", $"{axis}");
        if (spec.Type is { } type && type != tensor.ElementType.Name())
            Mistake(".type", $"{tensor.ElementType.Name()}, as in the graph", $"\"{type}\"");
        if (spec.Shape is { } shape && !Agree(shape, tensor.Shape, spec.BatchAxis))
            Mistake(".shape", $"{Show(tensor.Shape)}, as in the graph", Show(shape));
        if (spec.Symbols is { } symbols && symbols.Count != rank)
            Mistake(".symbols", $"{rank} names, one a dimension", $"{symbols.Count}");
        if (spec.Pad is { } pad && !PadElement.Fits(tensor.ElementType, pad))
            Mistake(".pad", $"a value of {tensor.ElementType.Name()}", $"{pad}");
        return spec with
        {
            Type = tensor.ElementType.Name(),
            Shape = tensor.Shape,
            // A graph may leave dimensions unnamed; what the owner calls them then holds.
            Symbols = spec.Symbols ?? tensor.SymbolicShape,
        };

        void Mistake(string part, string expected, string given) =>
            mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, field + part, expected, given));
    }

    /// <summary>Equal shapes, but for the batch axis: registration writes −1 there where the graph's promise of a fixed one does not hold.</summary>
    private static bool Agree(IReadOnlyList<long> given, long[] graph, int? batchAxis) =>
        given.Count == graph.Length && given.Select((dim, i) => dim == graph[i] || (i == batchAxis && dim == -1)).All(same => same);

    /// <summary>Graphs promise outputs of one row and give as many as they were fed; the inputs decide.</summary>
    private static TensorSpec Unfix(TensorSpec output) =>
        output is { BatchAxis: { } axis, Shape: { } shape } && axis < shape.Count
            ? output with
            {
                Shape = [.. shape.Select((dim, i) => i == axis ? -1 : dim)],
            }
            : output;

    private static void CheckText(ModelFolder folder, ModelManifest manifest, List<ModelMistake> mistakes)
    {
        if (manifest.Kind != ModelKind.Text)
            return;
        try
        {
            TextInputs.Create(manifest, TextTokenizers.Create(manifest.Tokenizer!, folder.Vocabulary));
        }
        catch (InvalidModelException failure)
        {
            mistakes.AddRange(failure.Mistakes);
        }
    }

    private static void CheckResult(ModelFolder folder, ModelManifest manifest, List<ModelMistake> mistakes)
    {
        var result = manifest.Result;
        if (result.Type == ResultType.Raw)
            return;
        var from = result.From ?? manifest.Outputs.Keys.First();
        var output = manifest.Outputs[from];
        Expect(PadElement.IsReal(output.Type!), $"outputs.{from}", "real numbers, to make the result from", output.Type!);
        Expect(output.BatchAxis is not null, $"outputs.{from}.batch_axis", "one, as every task has its own result", "none");
        var shape = output.TaskShape();
        if (result.Type == ResultType.Labels)
        {
            Expect(folder.Labels.Count > 0, "result.labels", "a file with a label a line", "an empty file");
            Expect(
                result.TopK <= folder.Labels.Count,
                "result.top_k",
                $"at most {folder.Labels.Count}, the number of labels",
                $"{result.TopK}"
            );
            var classes = shape.Any(dim => dim < 0) ? folder.Labels.Count : shape.Aggregate(1L, (product, dim) => product * dim);
            if (classes != folder.Labels.Count)
                mistakes.Add(
                    new ModelMistake(
                        result.Labels!,
                        "",
                        $"{classes} labels, one a line, as output {from} has as many numbers",
                        $"{folder.Labels.Count}"
                    )
                );
        }
        else if (result.Pooling != Pooling.None)
        {
            Expect(
                shape.Count == 2,
                "result.pooling",
                $"an output of tokens × numbers a task (a shape like [batch, sequence, 384])",
                $"{from} with {Show(output.Shape!)}"
            );
        }

        if (result.DimensionsMin is { } dimensionsMin)
        {
            Expect(result.Type == ResultType.Embedding, "result.dimensions_min", "a result of type embedding", result.Type.ToString());
            var length = shape.Count > 0 ? shape[^1] : -1;
            Expect(length > 0, "result.dimensions_min", $"an output of a known length (a shape like [batch, 384])", Show(output.Shape!));
            Expect(
                dimensionsMin >= 1 && (length <= 0 || dimensionsMin <= length),
                "result.dimensions_min",
                $"1 to {Math.Max(length, 1)}, the length of an embedding",
                $"{dimensionsMin}"
            );
        }

        void Expect(bool holds, string field, string expected, string given)
        {
            if (!holds)
                mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, field, expected, given));
        }
    }

    private static string Names(IReadOnlyList<TensorInfo> tensors) => string.Join(", ", tensors.Select(tensor => tensor.Name));

    private static string Show(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";
}
