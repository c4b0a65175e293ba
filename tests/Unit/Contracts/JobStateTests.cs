using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class JobStateTests
{
    private static readonly JobState[] Ends = [JobState.Completed, JobState.Failed, JobState.Expired, JobState.Cancelled];

    [Fact]
    public void Every_state_has_its_moves_in_the_table() => Assert.Equal(Enum.GetValues<JobState>(), JobStates.Moves.Keys.Order());

    [Fact]
    public void Four_states_are_ends_and_no_other_is() => Assert.Equal(Ends, Enum.GetValues<JobState>().Where(s => s.IsEnd()));

    [Fact]
    public void Every_state_can_be_reached_from_receiving()
    {
        var reached = Reachable(JobState.Receiving);

        Assert.Equal(Enum.GetValues<JobState>(), reached.Order());
    }

    [Fact]
    public void From_every_state_an_end_is_within_reach() =>
        Assert.All(Enum.GetValues<JobState>(), state => Assert.Contains(Reachable(state), s => s.IsEnd()));

    [Fact]
    public void No_state_is_entered_twice() =>
        Assert.All(Enum.GetValues<JobState>(), state => Assert.DoesNotContain(state, JobStates.Moves[state].SelectMany(Reachable)));

    [Fact]
    public void A_cancelling_job_only_becomes_cancelled() => Assert.Equal([JobState.Cancelled], JobStates.Moves[JobState.Cancelling]);

    [Fact]
    public void Names_of_states_are_the_same_in_JSON_and_in_the_database() =>
        Assert.All(
            Enum.GetValues<JobState>(),
            state =>
            {
                Assert.Equal($"\"{state.Name()}\"", JsonSerializer.Serialize(state));
                Assert.Equal(state, JobStates.ParseJobState(state.Name()));
            }
        );

    [Fact]
    public void Names_of_outcomes_are_the_same_in_JSON_and_in_the_database() =>
        Assert.All(
            Enum.GetValues<TaskOutcome>(),
            outcome =>
            {
                Assert.Equal($"\"{outcome.Name()}\"", JsonSerializer.Serialize(outcome));
                Assert.Equal(outcome, JobStates.ParseTaskOutcome(outcome.Name()));
            }
        );

    [Theory]
    [InlineData("Completed")]
    [InlineData("")]
    [InlineData("done")]
    public void An_unknown_name_is_refused_and_repeated(string text)
    {
        Assert.Contains(
            $"\"{text}\"",
            Assert.Throws<FormatException>(() => JobStates.ParseJobState(text)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            $"\"{text}\"",
            Assert.Throws<FormatException>(() => JobStates.ParseTaskOutcome(text)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Classes_and_lanes_have_one_name_each()
    {
        Assert.All(
            Enum.GetValues<LatencyClass>(),
            value =>
            {
                Assert.True(LatencyClasses.TryParse(value.Name(), out var back));
                Assert.Equal(value, back);
                Assert.Equal($"\"{value.Name()}\"", JsonSerializer.Serialize(value));
                Assert.Contains(value, LatencyClasses.Defaults.Keys);
            }
        );
        Assert.All(Enum.GetValues<Lane>(), value => Assert.Equal($"\"{value.Name()}\"", JsonSerializer.Serialize(value)));
        Assert.False(LatencyClasses.TryParse("urgent", out _));
        Assert.False(LatencyClasses.TryParse(null, out _));
    }

    [Fact]
    public void A_dearer_class_promises_more()
    {
        var classes = Enum.GetValues<LatencyClass>().Select(c => LatencyClasses.Defaults[c]).ToArray();

        Assert.Equal(classes.OrderBy(c => c.Target), classes);
        Assert.Equal(classes.OrderBy(c => c.CompletionWindow), classes);
        Assert.Equal(classes.OrderByDescending(c => c.PriceFactor), classes);
        Assert.All(classes, c => Assert.True(c.Target < c.CompletionWindow));
    }

    private static HashSet<JobState> Reachable(JobState from)
    {
        HashSet<JobState> seen = [from];
        var left = new Stack<JobState>([from]);
        while (left.TryPop(out var state))
        {
            foreach (var next in JobStates.Moves[state].Where(seen.Add))
            {
                left.Push(next);
            }
        }

        return seen;
    }
}
