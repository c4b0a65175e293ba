using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.Express;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public class JobWaiterTests
{
    private static readonly TimeSpan Never = TimeSpan.FromHours(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly JobId Job = JobId.New(DateTimeOffset.UnixEpoch);

    [Fact]
    public async Task The_last_result_ends_the_wait_and_each_counts_once()
    {
        var waiters = new Waiters(new IngestOptions(), TimeProvider.System);
        var waiter = waiters.TryAdd(Job, 2, Never)!;
        var complete = waiter.CompleteAsync(Patience, TimeProvider.System, CancellationToken.None);

        waiters.Take([Answer(1), Answer(1)]);
        Assert.False(complete.IsCompleted);
        waiters.Take([Answer(0)]);

        Assert.True(await complete);
        Assert.Equal([1, 0], waiter.Landed().Select(a => a.Seq));
    }

    [Fact]
    public async Task A_wait_that_is_over_says_so() =>
        Assert.False(
            await new Waiters(new IngestOptions(), TimeProvider.System)
                .TryAdd(Job, 1, Never)!
                .CompleteAsync(TimeSpan.FromMilliseconds(5), TimeProvider.System, CancellationToken.None)
        );

    [Fact]
    public void The_rows_of_a_job_that_is_not_committed_yet_are_not_looked_at()
    {
        var waiters = new Waiters(new IngestOptions(), TimeProvider.System);
        var waiter = waiters.TryAdd(Job, 1, TimeSpan.Zero, isStored: false)!;
        Assert.Empty(waiters.Due());

        waiter.Stored();
        Assert.Same(waiter, Assert.Single(waiters.Due()));
    }

    [Fact]
    public void No_more_wait_than_may()
    {
        var waiters = new Waiters(new IngestOptions { ExpressWaitersMax = 1 }, TimeProvider.System);
        var first = waiters.TryAdd(Job, 1, Never)!;
        Assert.Null(waiters.TryAdd(Job, 1, Never));

        waiters.Leave(first);
        Assert.NotNull(waiters.TryAdd(Job, 1, Never));
        Assert.Equal(1, waiters.Count);
    }

    [Fact]
    public void No_more_results_are_waited_for_than_may()
    {
        var waiters = new Waiters(new IngestOptions { ExpressResultsMax = 2048 }, TimeProvider.System);
        var first = waiters.TryAdd(Job, 2048, Never)!;
        Assert.Null(waiters.TryAdd(JobId.New(DateTimeOffset.UnixEpoch), 1, Never));

        waiters.Leave(first);
        Assert.NotNull(waiters.TryAdd(Job, 2048, Never));
    }

    [Fact]
    public void Two_may_wait_for_one_job_and_the_last_takes_it_off()
    {
        var waiters = new Waiters(new IngestOptions(), TimeProvider.System);
        var (one, two) = (waiters.TryAdd(Job, 1, Never)!, waiters.TryAdd(Job, 1, Never)!);
        Assert.Same(one, two);

        waiters.Leave(one);
        Assert.Equal(1, waiters.Count);
        waiters.Leave(two);
        Assert.Equal(0, waiters.Count);
    }

    [Fact]
    public void An_output_that_did_not_travel_is_looked_for_at_once()
    {
        var waiters = new Waiters(new IngestOptions(), TimeProvider.System);
        var waiter = waiters.TryAdd(Job, 1, Never)!;
        Assert.Empty(waiters.Due());

        waiters.Take([Answer(0) with { Output = null }]);

        Assert.False(waiter.IsComplete);
        Assert.Same(waiter, Assert.Single(waiters.Due()));
        Assert.Empty(waiters.Due());
    }

    private static TaskAnswer Answer(int seq) =>
        new(Job, seq, "a", "succeeded", [1], "application/json", null, null, "m@1", 1, 0, 0, 0, 0, 0);
}
