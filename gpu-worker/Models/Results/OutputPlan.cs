using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>How one output of the graph is taken apart again.</summary>
/// <param name="BatchAxis">Null for an output that every task of the batch gets whole.</param>
/// <param name="CutBy">
/// For each dimension of the graph's shape the number of the padded symbol it is cut back by, or −1; see
/// <see cref="Packing.IBatchInputs.PaddedSymbols"/>.
/// </param>
internal sealed record OutputPlan(string Name, TensorElementType Type, int? BatchAxis, int[] CutBy)
{
    /// <summary>True when padding may have to be cut off.</summary>
    public bool IsCut { get; } = CutBy.Any(symbol => symbol >= 0);

    public static OutputPlan Create(string name, TensorSpec spec, IReadOnlyList<string> paddedSymbols)
    {
        var cutBy = spec.Shape!.Select((size, dim) => size < 0 && dim != spec.BatchAxis ? Find(spec.Symbols![dim]) : -1);
        return new OutputPlan(name, spec.ElementType(), spec.BatchAxis, [.. cutBy]);

        int Find(string symbol)
        {
            for (var i = 0; symbol.Length > 0 && i < paddedSymbols.Count; i++)
                if (paddedSymbols[i] == symbol)
                    return i;
            return -1;
        }
    }
}
