using Pipeline.Simulator.Report;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class ReportSearchTests
{
    [Theory]
    [InlineData(0.031)]
    [InlineData(0.5)]
    [InlineData(0.8612)]
    [InlineData(1.04)]
    [InlineData(1.3)]
    public void The_search_finds_the_largest_load_that_is_kept_from_wherever_it_begins(double limit)
    {
        foreach (var guess in (double[])[0.03, 0.3, 0.86, 1.1])
        {
            var search = new LoadSearch(load => load <= limit, 0.0025);
            var found = search.Largest(search.Place(guess), width: 4);
            Assert.InRange(search.Load(found), limit / 1.0025 - 1e-9, limit);
            Assert.True(search.Load(found + 1) > limit);
        }
    }

    [Fact]
    public void Where_no_load_is_kept_the_answer_is_zero()
    {
        var search = new LoadSearch(_ => false, 0.01);
        var found = search.Largest(search.Place(0.9), width: 8);
        Assert.Equal(LoadSearch.None, found);
        Assert.Equal(0, search.Load(found));
    }

    [Fact]
    public void Far_below_what_it_is_compared_to_an_answer_may_be_four_steps_too_low()
    {
        var (coarse, fine) = (0, 0);
        var first = new LoadSearch(
            load =>
            {
                coarse++;
                return load <= 0.4;
            },
            0.0025
        );
        var second = new LoadSearch(
            load =>
            {
                fine++;
                return load <= 0.4;
            },
            0.0025
        );
        var rough = first.Largest(first.Place(0.9), 4, exactFrom: first.Place(0.85));
        var exact = second.Largest(second.Place(0.9), 4);
        Assert.InRange(exact - rough, 0, 3);
        Assert.True(coarse < fine);
    }

    [Fact]
    public void A_guess_that_is_right_costs_few_probes()
    {
        var probes = 0;
        var search = new LoadSearch(
            load =>
            {
                probes++;
                return load <= 0.9;
            },
            0.0025
        );
        search.Largest(search.Place(0.9), 4);
        Assert.InRange(probes, 2, 4);
    }
}
