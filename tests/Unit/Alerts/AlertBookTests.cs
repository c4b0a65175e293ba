using System.Text.Json.Nodes;
using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>How findings become alerts: told once, told again when worse, told when over.</summary>
public class AlertBookTests
{
    private static readonly AlertTiming Timing = new(TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(30));
    private static readonly TimeSpan GroupWindow = TimeSpan.FromMinutes(10);
    private static readonly Dictionary<string, string> Express = new() { ["class"] = "express" };
    private readonly List<Quiet> _quiet = [];
    private DateTimeOffset _now = new(2026, 3, 2, 12, 0, 0, TimeSpan.Zero);
    private List<OpenAlert> _open = [];

    [Fact]
    public void A_finding_fires_when_it_has_lasted_and_is_told_once()
    {
        Assert.Empty(Look(Slow()));
        Assert.Equal(AlertState.Pending, Assert.Single(_open).State);
        Assert.Empty(Later(1, Slow()));

        Assert.Equal(AlertState.Firing, Assert.Single(Later(1, Slow())).State);
        Assert.Empty(Later(1, Slow()));
    }

    [Fact]
    public void What_is_gone_before_it_fires_was_no_alert()
    {
        Look(Slow());

        Assert.Empty(Later(1));
        Assert.Empty(_open);
    }

    [Fact]
    public void A_flickering_finding_is_one_alert_and_is_told_when_it_is_over()
    {
        Look(Slow());
        var raised = Assert.Single(Later(2, Slow()));
        Assert.Empty(Later(4));
        Assert.Empty(Later(1, Slow()));
        Assert.Empty(Later(4));

        var over = Assert.Single(Later(1));
        Assert.Equal((raised.Id, AlertState.Resolved, _now), (over.Id, over.State, over.ResolvedAt));
        Assert.Empty(_open);
    }

    [Fact]
    public void One_that_got_worse_is_told_again_and_wants_a_new_look()
    {
        Look(Slow());
        Later(2, Slow());
        Acknowledge();

        var worse = Assert.Single(Later(1, Slow(Severity.Critical)));

        Assert.Equal((Severity.Critical, null), (worse.Severity, worse.AcknowledgedAt));
        Assert.Empty(Later(1, Slow()));
        Assert.Equal(Severity.Critical, Assert.Single(_open).Severity);
    }

    [Fact]
    public void A_warning_nobody_acknowledges_becomes_critical()
    {
        Look(Slow());
        Later(2, Slow());
        Assert.Empty(Later(29, Slow()));

        var escalated = Assert.Single(Later(1, Slow()));

        Assert.Equal((Severity.Critical, _now), (escalated.Severity, escalated.EscalatedAt));
    }

    [Fact]
    public void An_acknowledged_one_is_left_alone()
    {
        Look(Slow());
        Later(2, Slow());
        Acknowledge();

        Assert.Empty(Later(60, Slow()));
    }

    [Fact]
    public void In_a_silence_it_is_kept_but_told_only_when_it_outlasts_it()
    {
        _quiet.Add(new Quiet("s-1", null, Express, _now, _now.AddHours(1)));
        Look(Slow());
        Assert.Empty(Later(2, Slow()));
        Assert.Equal((AlertState.Firing, "s-1"), (Assert.Single(_open).State, _open[0].SilencedBy));

        Assert.Null(Assert.Single(Later(58, Slow())).SilencedBy);
    }

    [Fact]
    public void One_that_ends_in_its_silence_is_told_of_by_nobody()
    {
        _quiet.Add(new Quiet("s-1", "slow", new Dictionary<string, string>(), _now, _now.AddHours(1)));
        Look(Slow());
        Later(2, Slow());

        Assert.Empty(Later(5));
        Assert.Empty(_open);
    }

    [Theory]
    [InlineData("slow", "class", "bulk")]
    [InlineData("other", "class", "express")]
    public void A_silence_of_something_else_silences_nothing(string rule, string label, string value)
    {
        _quiet.Add(new Quiet("s-1", rule, new Dictionary<string, string> { [label] = value }, _now, _now.AddHours(1)));
        Look(Slow());

        Assert.Single(Later(2, Slow()));
    }

    [Fact]
    public void The_same_thing_found_twice_is_one_alert_of_the_worse_severity()
    {
        Look(Slow(), Slow(Severity.Critical));

        Assert.Equal(Severity.Critical, Assert.Single(_open).Severity);
    }

    [Fact]
    public void Of_a_group_one_notification_tells_and_what_fires_within_the_window_waits_for_the_next()
    {
        Look(Slow());
        Assert.Single(Later(2, Slow(), SlowModel("a"), SlowModel("b")));
        Assert.Empty(Later(2, Slow(), SlowModel("a"), SlowModel("b"), SlowModel("c")));

        // Ten minutes after the first one the other three are told of together.
        var told = Later(8, Slow(), SlowModel("a"), SlowModel("b"), SlowModel("c"));

        Assert.Equal(["a", "b", "c"], told.Select(a => a.Labels["model"]).Order(StringComparer.Ordinal));
        Assert.Empty(Later(1, Slow(), SlowModel("a"), SlowModel("b"), SlowModel("c")));
    }

    [Fact]
    public void What_is_worse_than_all_that_was_told_of_its_group_does_not_wait()
    {
        Look(Slow(), SlowModel("a"));
        Assert.Equal(2, Later(2, Slow(), SlowModel("a"), SlowModel("b"), SlowModel("c", Severity.Critical)).Count);

        Assert.Equal(
            "c",
            Assert.Single(Later(2, Slow(), SlowModel("a"), SlowModel("b"), SlowModel("c", Severity.Critical))).Labels["model"]
        );
    }

    [Fact]
    public void What_fires_and_is_over_within_the_window_is_told_of_by_nobody()
    {
        Look(Slow());
        Later(2, Slow(), SlowModel("a"));
        Later(2, Slow(), SlowModel("a"));

        Assert.Empty(Later(5, Slow()));
        Assert.Single(_open);
    }

    [Fact]
    public void A_notification_names_the_worst_and_counts_them_all()
    {
        Look(Slow(), SlowModel("a", Severity.Critical), SlowModel("b"));
        var told = Later(2, Slow(), SlowModel("a", Severity.Critical), SlowModel("b"));

        var data = JsonNode.Parse(AlertView.EventData(told))!;

        Assert.Equal(("a", 3, 2), ((string?)data["labels"]!["model"], (int)data["alerts"]!, data["others"]!.AsArray().Count));
        Assert.Equal("/v1/alerts?rule=slow&state=firing", (string?)data["links"]!["list"]);
    }

    private static Finding Slow(Severity severity = Severity.Warning) => new("slow", severity, Express, "It is slow.", []);

    private static Finding SlowModel(string model, Severity severity = Severity.Warning) =>
        new("slow", severity, new Dictionary<string, string> { ["model"] = model }, $"{model} is slow.", []);

    private void Acknowledge() => _open = [.. _open.Select(a => a with { AcknowledgedAt = _now })];

    private List<OpenAlert> Later(int minutes, params Finding[] findings)
    {
        _now = _now.AddMinutes(minutes);
        return Look(findings);
    }

    /// <returns>What is told.</returns>
    private List<OpenAlert> Look(params Finding[] findings)
    {
        var changes = AlertBook.Judge(_open, findings, _ => Timing, _quiet, GroupWindow, _now, Guid.NewGuid);
        _open = [.. changes.Select(c => c.Alert).Where(a => a.State != AlertState.Resolved)];
        return [.. changes.Where(c => c.Tell).Select(c => c.Alert)];
    }
}
