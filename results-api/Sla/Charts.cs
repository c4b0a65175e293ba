using System.Globalization;
using System.Net;
using System.Text;

namespace Pipeline.ResultsApi.Sla;

/// <summary>A line of a chart; null where there is no point.</summary>
internal sealed record ChartLine(string Name, IReadOnlyList<double?> Points);

/// <summary>A bar of parts that sum to 1, at most.</summary>
internal sealed record ChartBar(string Name, IReadOnlyList<double> Parts);

/// <summary>Charts as inline SVG, drawn the same every time; no script, no font, nothing to fetch.</summary>
internal static class Charts
{
    private const double Width = 720;
    private const double Height = 180;
    private const double Left = 56;
    private const double Right = 12;
    private const double Top = 10;
    private const double Bottom = 22;
    private const int LabelsMax = 10;
    private const int DotsMax = 62;

    /// <summary>Colours that are told apart in print and by people who do not see red and green apart; dashes say the same again.</summary>
    private static readonly string[] Colours = ["#0b5fa5", "#d1641b", "#3d8f5f", "#7a4f9a", "#666666", "#b8860b"];
    private static readonly string[] Dashes = ["", "6 3", "2 3", "8 3 2 3", "4 4", "1 2"];

    /// <summary>Lines over periods, from <paramref name="low"/> up to what the largest needs.</summary>
    /// <param name="text">How a value of the axis is written.</param>
    public static string Lines(
        string title,
        IReadOnlyList<string> labels,
        IReadOnlyList<ChartLine> lines,
        double low,
        double? high,
        Func<double, string> text
    )
    {
        var svg = Begin(title, Height);
        var top = high ?? NiceAbove(lines.SelectMany(l => l.Points).Max() ?? 1);
        for (var i = 0; i <= 4; i++)
        {
            var value = low + ((top - low) * i / 4);
            var y = Y(value, low, top);
            svg.Append(Line(Left, y, Width - Right, y, "#ddd", ""));
            svg.Append(Text(Left - 6, y + 4, text(value), "end"));
        }

        var every = Math.Max(1, (labels.Count + LabelsMax - 1) / LabelsMax);
        for (var i = 0; i < labels.Count; i += every)
        {
            svg.Append(Text(X(i, labels.Count), Height - 6, labels[i], "middle"));
        }

        for (var i = 0; i < lines.Count; i++)
        {
            Draw(svg, lines[i], Colours[i % Colours.Length], Dashes[i % Dashes.Length], low, top);
        }

        return svg.Append("</svg>").ToString() + Legend([.. lines.Select(l => l.Name)]);
    }

    /// <summary>Bars one below the other, each cut into the same parts.</summary>
    public static string Bars(string title, IReadOnlyList<string> parts, IReadOnlyList<ChartBar> bars)
    {
        const double BarHeight = 22;
        const double Step = 30;
        const double NameWidth = 110;
        var svg = Begin(title, (bars.Count * Step) + 8);
        for (var row = 0; row < bars.Count; row++)
        {
            var (x, y) = (NameWidth, 4 + (row * Step));
            svg.Append(Text(NameWidth - 8, y + 15, bars[row].Name, "end"));
            for (var i = 0; i < bars[row].Parts.Count; i++)
            {
                var width = bars[row].Parts[i] * (Width - NameWidth - Right);
                svg.Append(
                    $"<rect x=\"{N(x)}\" y=\"{N(y)}\" width=\"{N(width)}\" height=\"{N(BarHeight)}\" fill=\"{Colours[i % Colours.Length]}\"/>"
                );
                if (bars[row].Parts[i] >= 0.06)
                {
                    svg.Append(
                        $"<text x=\"{N(x + (width / 2))}\" y=\"{N(y + 15)}\" text-anchor=\"middle\" fill=\"#fff\">{Percent(bars[row].Parts[i])}</text>"
                    );
                }

                x += width;
            }
        }

        return svg.Append("</svg>").ToString() + Legend(parts);
    }

    private static void Draw(StringBuilder svg, ChartLine line, string colour, string dash, double low, double top)
    {
        var path = new StringBuilder();
        var draws = false;
        for (var i = 0; i < line.Points.Count; i++)
        {
            if (line.Points[i] is not { } value)
            {
                draws = false;
                continue;
            }

            path.Append(draws ? 'L' : 'M').Append(N(X(i, line.Points.Count))).Append(' ').Append(N(Y(value, low, top)));
            draws = true;
            if (line.Points.Count <= DotsMax)
            {
                svg.Append($"<circle cx=\"{N(X(i, line.Points.Count))}\" cy=\"{N(Y(value, low, top))}\" r=\"2\" fill=\"{colour}\"/>");
            }
        }

        svg.Append($"<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-dasharray=\"{dash}\"/>");
    }

    private static StringBuilder Begin(string title, double height) =>
        new StringBuilder(
            $"<svg viewBox=\"0 0 {N(Width)} {N(height)}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\" xmlns=\"http://www.w3.org/2000/svg\">"
        ).Append($"<title>{WebUtility.HtmlEncode(title)}</title>");

    private static string Legend(IReadOnlyList<string> names) =>
        "<p class=\"legend\">"
        + string.Concat(
            names.Select(
                (name, i) =>
                    $"<span><svg viewBox=\"0 0 24 8\" width=\"24\" height=\"8\" aria-hidden=\"true\"><line x1=\"0\" y1=\"4\" x2=\"24\" y2=\"4\" "
                    + $"stroke=\"{Colours[i % Colours.Length]}\" stroke-width=\"4\" stroke-dasharray=\"{Dashes[i % Dashes.Length]}\"/></svg> {WebUtility.HtmlEncode(name)}</span> "
            )
        )
        + "</p>";

    private static string Line(double x1, double y1, double x2, double y2, string colour, string dash) =>
        $"<line x1=\"{N(x1)}\" y1=\"{N(y1)}\" x2=\"{N(x2)}\" y2=\"{N(y2)}\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\"/>";

    private static string Text(double x, double y, string text, string anchor) =>
        $"<text x=\"{N(x)}\" y=\"{N(y)}\" text-anchor=\"{anchor}\">{WebUtility.HtmlEncode(text)}</text>";

    private static double X(int i, int count) => Left + ((count == 1 ? 0.5 : (double)i / (count - 1)) * (Width - Left - Right));

    private static double Y(double value, double low, double top) =>
        Top + ((1 - Math.Clamp((value - low) / (top - low), 0, 1)) * (Height - Top - Bottom));

    /// <summary>The next of 1, 2 and 5 times a power of ten.</summary>
    private static double NiceAbove(double value)
    {
        if (value <= 0)
        {
            return 1;
        }

        var power = Math.Pow(10, Math.Floor(Math.Log10(value)));
        return power
            * (
                value <= power ? 1
                : value <= 2 * power ? 2
                : value <= 5 * power ? 5
                : 10
            );
    }

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{share * 100:0.#} %");

    private static string N(double number) => number.ToString("0.##", CultureInfo.InvariantCulture);
}
