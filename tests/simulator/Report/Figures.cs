using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pipeline.Simulator.Report;

/// <summary>The figures that the command ends with, as one line of JSON. Shares are 0 to 1, what ends in pct or pt is in hundredths.</summary>
internal sealed record Figures
{
    /// <summary>Cells of the first chapter.</summary>
    public int Cells { get; set; }

    /// <summary>Those in which no baseline kept the percentile at a load more than the search's precision above ours.</summary>
    public int CellsAtLeastBest { get; set; }

    /// <summary>Those in which ours keeps the share of the analytic ceiling that is the goal.</summary>
    [JsonIgnore]
    public int CellsAtGoal { get; set; }

    /// <summary>How far ours stays below the best baseline, in the cell where it is worst.</summary>
    public double WorstGapPct { get; set; }
    public double? ExpressAttainment { get; set; }
    public double? BulkRetained { get; set; }

    /// <summary>Null when no baseline attained what ours did.</summary>
    public double? CostSavingPct { get; set; }
    public double? FidelityMeanPt { get; set; }
    public double? FidelityMaxPt { get; set; }

    /// <summary>Where ours loses, as the chapters found it.</summary>
    [JsonIgnore]
    public List<string> Losses { get; } = [];

    public string Json() => JsonSerializer.Serialize(this, Snake);

    private static readonly JsonSerializerOptions Snake = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static double? Rounded(double? value, int digits) => value is { } known ? Math.Round(known, digits) : null;
}
