using System.Globalization;
using System.Text;

namespace Pipeline.Simulator.Report;

/// <summary>The report as it is written: Markdown, and the plots it shows, by file name.</summary>
internal sealed class ReportText
{
    private readonly StringBuilder _text = new();

    public Dictionary<string, string> Plots { get; } = [];

    public void Line(string text = "") => _text.Append(text).Append('\n');

    public void Heading(string text) => Block($"## {text}");

    public void Block(string text)
    {
        Line(text);
        Line();
    }

    public void Table(IEnumerable<string> heads, IEnumerable<IEnumerable<string>> rows)
    {
        var names = heads.ToList();
        Line($"| {string.Join(" | ", names)} |");
        Line($"|{string.Concat(Enumerable.Repeat("---|", names.Count))}");
        foreach (var row in rows)
        {
            Line($"| {string.Join(" | ", row)} |");
        }

        Line();
    }

    /// <summary>A long table that opens when it is asked for.</summary>
    public void Folded(string about, IEnumerable<string> heads, IEnumerable<IEnumerable<string>> rows)
    {
        Block($"<details><summary>{about}</summary>");
        Table(heads, rows);
        Block("</details>");
    }

    public void Plot(string name, Chart chart)
    {
        Plots[$"{name}.svg"] = chart.Draw();
        Block($"![{chart.Title}](plots/{name}.svg)");
    }

    public override string ToString() => _text.ToString().TrimEnd('\n') + "\n";

    // Numbers, the same wherever the report is made

    public static string Percent(double share, int digits = 1) => (100 * share).ToString($"F{digits}", CultureInfo.InvariantCulture);

    public static string Number(double value, int digits = 0) =>
        double.IsNaN(value) ? "–" : value.ToString($"N{digits}", CultureInfo.InvariantCulture);

    public static string Plain(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
}
