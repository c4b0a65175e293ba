using System.Xml.Linq;
using Pipeline.Simulator.Report;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class ReportChartTests
{
    [Fact]
    public void A_plot_is_well_formed_and_names_its_axes_and_lines()
    {
        var svg = XDocument.Parse(new Chart("a < b", "load & more", "share", [Line("ours", 0, 1), Line("<theirs>", 0.5, 0.25)]).Draw());
        var texts = svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value).ToList();
        Assert.Contains("a < b", texts);
        Assert.Contains("load & more", texts);
        Assert.Contains("<theirs>", texts);
        Assert.Equal(2, svg.Descendants().Count(e => e.Name.LocalName == "polyline"));
    }

    [Fact]
    public void Larger_values_stand_higher_and_what_is_beyond_the_axis_stands_at_its_edge()
    {
        var chart = new Chart("t", "x", "y", [Line("a", 0, 0.5, 1, 7)]) { YMin = 0, YMax = 1 };
        var at = Polyline(chart.Draw());
        Assert.True(at[0].Y > at[1].Y && at[1].Y > at[2].Y);
        Assert.Equal(at[2].Y, at[3].Y);
        Assert.True(at[0].X < at[1].X);
    }

    [Fact]
    public void Both_backgrounds_have_their_colours_and_the_first_line_is_drawn_over_the_others()
    {
        var svg = new Chart("t", "x", "y", [Line("ours", 0, 1), Line("b", 1, 0)]).Draw();
        Assert.Contains("prefers-color-scheme:dark", svg, StringComparison.Ordinal);
        Assert.True(svg.LastIndexOf("s s0", StringComparison.Ordinal) > svg.LastIndexOf("s s1", StringComparison.Ordinal));
    }

    [Fact]
    public void A_plot_without_points_or_with_equal_ones_is_still_a_plot()
    {
        Assert.DoesNotContain("NaN", new Chart("t", "x", "y", []).Draw(), StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", new Chart("t", "x", "y", [Line("flat", 1, 1, 1)]).Draw(), StringComparison.Ordinal);
    }

    private static Series Line(string name, params double[] values) => new(name, [.. values.Select((v, i) => ((double)i, v))]);

    private static List<(double X, double Y)> Polyline(string svg) =>
        [
            .. XDocument
                .Parse(svg)
                .Descendants()
                .Single(e => e.Name.LocalName == "polyline")
                .Attribute("points")!
                .Value.Split(' ')
                .Select(p => p.Split(','))
                .Select(p =>
                    (
                        double.Parse(p[0], System.Globalization.CultureInfo.InvariantCulture),
                        double.Parse(p[1], System.Globalization.CultureInfo.InvariantCulture)
                    )
                ),
        ];
}
