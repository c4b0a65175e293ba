using Pipeline.ResultsApi.Outcomes;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi;

public sealed class OutcomesViewTests
{
    [Fact]
    public void A_cheap_model_that_needs_three_tries_is_seen_to_be_dear()
    {
        // Ten groups each. The cheap one takes three requests at 40 a group and half of it is of use; the dear one takes one at 100.
        var cheap = Row(groups: 10, reported: 10, accepted: 5, requests: 30, cost: 30 * 40);
        var dear = Row(groups: 10, reported: 10, accepted: 10, requests: 10, cost: 10 * 100);

        Assert.Equal((3.0, 120m, 240m), (cheap.RequestsPerGroup, cheap.CostPerGroupPicoUsd, cheap.CostPerAcceptedPicoUsd));
        Assert.Equal((1.0, 100m, 100m), (dear.RequestsPerGroup, dear.CostPerGroupPicoUsd, dear.CostPerAcceptedPicoUsd));
        Assert.Equal((0.5, 1.0), (cheap.AcceptanceRate, dear.AcceptanceRate));
    }

    [Fact]
    public void Groups_nobody_reported_on_make_no_accepted_outcome_dearer()
    {
        var row = Row(groups: 4, reported: 3, accepted: 2, requests: 4, cost: 1000) with { ReportedCostPicoUsd = 301 };

        Assert.Equal((0.666667, 150m, 250m), (row.AcceptanceRate, row.CostPerAcceptedPicoUsd, row.CostPerGroupPicoUsd));
    }

    [Fact]
    public void What_would_divide_by_nothing_is_null()
    {
        var none = Row(groups: 0, reported: 0, accepted: 0, requests: 0, cost: 0);
        Assert.Equal((null, null, null), (none.AcceptanceRate, none.CostPerGroupPicoUsd, none.RequestsPerGroup));
        Assert.Null(Row(groups: 2, reported: 2, accepted: 0, requests: 2, cost: 10).CostPerAcceptedPicoUsd);
    }

    [Fact]
    public void Csv_has_a_field_for_every_name() =>
        Assert.Equal(OutcomesView.CsvNames.Length, Row(groups: 1, reported: 0, accepted: 0, requests: 1, cost: 1).CsvFields.Count);

    private static OutcomesView Row(long groups, long reported, long accepted, long requests, long cost) =>
        new()
        {
            Id = "total",
            Day = null,
            Class = null,
            Model = null,
            Route = null,
            Groups = groups,
            Reported = reported,
            Accepted = accepted,
            Requests = requests,
            Turns = requests,
            CostPicoUsd = cost,
            PricePicoUsd = 2 * cost,
            ReportedCostPicoUsd = cost,
            ReportedPricePicoUsd = 2 * cost,
            Value = null,
        };
}
