using System.Globalization;
using System.Text;

namespace Pipeline.Simulator.Report;

/// <summary>Points of one name.</summary>
/// <param name="Line">False for points that no line joins.</param>
internal sealed record Series(string Name, IReadOnlyList<(double X, double Y)> Points, bool Line = true);

/// <summary>
/// A plot as SVG, without a package: axes, lines with marks, a legend. Colours change with the reader's light or dark background. The
/// first series is drawn thickest and last, over the others.
/// </summary>
internal sealed record Chart(string Title, string XName, string YName, IReadOnlyList<Series> Series)
{
    private const double Width = 800;
    private const double Height = 400;
    private const double Left = 64;
    private const double Right = 610;
    private const double Top = 40;
    private const double Bottom = 346;

    private const string Style =
        "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:14px}.grid{stroke:#d0d7de}.axis{stroke:#57606a}"
        + ".s{fill:none;stroke-width:1.6}.s0{stroke:#0969da;stroke-width:3}.s1{stroke:#cf222e}.s2{stroke:#1a7f37}.s3{stroke:#8250df}"
        + ".s4{stroke:#bc4c00}.s5{stroke:#6e7781}.s6{stroke:#bf3989}.s7{stroke:#9a6700}"
        + "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}.s0{stroke:#58a6ff}"
        + ".s1{stroke:#ff7b72}.s2{stroke:#56d364}.s3{stroke:#d2a8ff}.s4{stroke:#ffa657}.s5{stroke:#b1bac4}.s6{stroke:#ff9bce}.s7{stroke:#e3b341}}";

    /// <summary>Ends of the axes; the data's own where they are not given.</summary>
    public double? YMin { get; init; }
    public double? YMax { get; init; }

    public string Draw()
    {
        var points = Series.SelectMany(s => s.Points).DefaultIfEmpty((0, 0)).ToList();
        var x = new Scale(points.Min(p => p.X), points.Max(p => p.X), Left, Right);
        var y = new Scale(YMin ?? points.Min(p => p.Y), YMax ?? points.Max(p => p.Y), Bottom, Top);
        var svg = new StringBuilder();
        svg.Append(
            Invariant($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" width=\"{Width}\" role=\"img\">\n")
        );
        svg.Append(Invariant($"<title>{Escape(Title)}</title>\n<style>{Style}</style>\n"));
        svg.Append(Text(Left, 22, Title, "title"));
        Axes(svg, x, y);
        for (var i = Series.Count - 1; i >= 0; i--)
        {
            Draw(svg, i, x, y);
        }

        return svg.Append("</svg>\n").ToString();
    }

    private void Axes(StringBuilder svg, Scale x, Scale y)
    {
        foreach (var tick in y.Ticks())
        {
            svg.Append(Line("grid", Left, y.At(tick), Right, y.At(tick)))
                .Append(Text(Left - 6, y.At(tick) + 4, Plain(tick), anchor: "end"));
        }

        foreach (var tick in x.Ticks())
        {
            svg.Append(Line("grid", x.At(tick), Top, x.At(tick), Bottom))
                .Append(Text(x.At(tick), Bottom + 18, Plain(tick), anchor: "middle"));
        }

        svg.Append(Line("axis", Left, Bottom, Right, Bottom)).Append(Line("axis", Left, Top, Left, Bottom));
        svg.Append(Text((Left + Right) / 2, Bottom + 40, XName, anchor: "middle"));
        svg.Append(
            Invariant(
                $"<text transform=\"translate(16 {(Top + Bottom) / 2:0.#}) rotate(-90)\" text-anchor=\"middle\">{Escape(YName)}</text>\n"
            )
        );
    }

    private void Draw(StringBuilder svg, int index, Scale x, Scale y)
    {
        var series = Series[index];
        var style = $"s s{index % 8}";
        var at = series.Points.Select(p => (X: x.At(p.X), Y: Math.Clamp(y.At(p.Y), Top, Bottom))).ToList();
        if (series.Line && at.Count > 1)
        {
            var joined = string.Join(' ', at.Select(p => Invariant($"{p.X:0.#},{p.Y:0.#}")));
            svg.Append(Invariant($"<polyline class=\"{style}\" points=\"{joined}\"/>\n"));
        }

        at.ForEach(p => svg.Append(Mark(style, index, p.X, p.Y)));
        var row = Top + 8 + (18 * index);
        svg.Append(Mark(style, index, Right + 18, row)).Append(Text(Right + 30, row + 4, series.Name));
    }

    /// <summary>Round, square or crossed, so that lines are told apart without colours, too.</summary>
    private static string Mark(string style, int index, double x, double y) =>
        (index % 3) switch
        {
            0 => Invariant($"<circle class=\"{style}\" cx=\"{x:0.#}\" cy=\"{y:0.#}\" r=\"3\"/>\n"),
            1 => Invariant($"<rect class=\"{style}\" x=\"{x - 3:0.#}\" y=\"{y - 3:0.#}\" width=\"6\" height=\"6\"/>\n"),
            _ => Invariant($"<path class=\"{style}\" d=\"M{x - 3:0.#} {y - 3:0.#}l6 6m0 -6l-6 6\"/>\n"),
        };

    private static string Line(string style, double fromX, double fromY, double toX, double toY) =>
        Invariant($"<line class=\"{style}\" x1=\"{fromX:0.#}\" y1=\"{fromY:0.#}\" x2=\"{toX:0.#}\" y2=\"{toY:0.#}\"/>\n");

    private static string Text(double x, double y, string text, string style = "", string anchor = "start") =>
        Invariant($"<text x=\"{x:0.#}\" y=\"{y:0.#}\" class=\"{style}\" text-anchor=\"{anchor}\">{Escape(text)}</text>\n");

    private static string Escape(string text) => text.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;");

    private static string Plain(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    /// <summary>Values to places, with round ends.</summary>
    private readonly struct Scale
    {
        private readonly double _from;
        private readonly double _to;
        private readonly double _step;
        private readonly double _start;
        private readonly double _end;

        public Scale(double from, double to, double start, double end)
        {
            if (to - from < 1e-9)
            {
                (from, to) = (from - 0.5, to + 0.5);
            }

            var rough = (to - from) / 6;
            var power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
            _step =
                power
                * (
                    rough / power < 1.5 ? 1
                    : rough / power < 3.5 ? 2
                    : rough / power < 7.5 ? 5
                    : 10
                );
            _from = _step * Math.Floor((from / _step) + 1e-9);
            _to = _step * Math.Ceiling((to / _step) - 1e-9);
            (_start, _end) = (start, end);
        }

        public double At(double value) => _start + ((_end - _start) * (value - _from) / (_to - _from));

        public IEnumerable<double> Ticks()
        {
            for (var i = 0; _from + (i * _step) <= _to + (_step / 2); i++)
            {
                yield return _from + (i * _step);
            }
        }
    }
}
