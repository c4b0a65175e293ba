using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class DecisionLogTests
{
    private static readonly DateTimeOffset Start = PolicyWorld.Start;
    private static readonly JobId[] Jobs = [.. Enumerable.Range(1, 50).Select(i => new JobId(new Guid(i, 0, 0, new byte[8])))];

    [Fact]
    public void A_job_nobody_decided_about_has_none() => Assert.Empty(new DecisionLog(4, Start).Find(Jobs[0], 64));

    [Fact]
    public void The_newest_come_first_and_no_more_than_were_asked_for()
    {
        var log = new DecisionLog(100, Start);
        for (var second = 0; second < 10; second++)
        {
            log.Add(Send(tasks: 1, Jobs[second % 2]), Start.AddSeconds(second));
        }

        Assert.Equal([8, 6, 4, 2, 0], log.Find(Jobs[0], 64).Select(d => (d.At - Start).TotalSeconds));
        Assert.Equal([9, 7], log.Find(Jobs[1], 2).Select(d => (d.At - Start).TotalSeconds));
    }

    [Fact]
    public void A_dispatch_of_many_jobs_is_told_to_each_with_its_own_tasks()
    {
        var log = new DecisionLog(100, Start);

        log.Add(Send(tasks: 10, Jobs[0], Jobs[1], Jobs[0], Jobs[2], Jobs[1], Jobs[0]), Start);

        Assert.Equal([30, 20, 10], Jobs[..3].Select(job => Assert.Single(log.Find(job, 64)).TasksOfJob));
    }

    [Fact]
    public void A_ring_that_is_full_forgets_the_oldest_and_says_since_when_it_remembers()
    {
        var log = new DecisionLog(3, Start);
        for (var second = 1; second <= 3; second++)
        {
            log.Add(Send(1, Jobs[0]), Start.AddSeconds(second));
        }

        Assert.Equal((Start, 3), (log.Since, log.Find(Jobs[0], 64).Count));
        log.Add(Send(1, Jobs[1]), Start.AddSeconds(4));
        log.Add(Send(1, Jobs[1]), Start.AddSeconds(5));
        Assert.Equal((Start.AddSeconds(2), 1), (log.Since, log.Find(Jobs[0], 64).Count));
        log.Add(Send(1, Jobs[1]), Start.AddSeconds(6));
        Assert.Empty(log.Find(Jobs[0], 64));
        Assert.Equal([6, 5, 4], log.Find(Jobs[1], 64).Select(d => (d.At - Start).TotalSeconds));
    }

    /// <summary>Whatever comes, it tells the same as a log that keeps everything and looks through all of it.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(64)]
    [InlineData(5000)]
    public void It_tells_what_a_plain_list_would_tell(int capacity)
    {
        var random = new Random(capacity);
        var log = new DecisionLog(capacity, Start);
        var all = new List<(JobId Job, DateTimeOffset At, int Tasks)>();
        for (var second = 1; second <= 500; second++)
        {
            var jobs = Enumerable.Range(0, random.Next(1, 5)).Select(_ => Jobs[random.Next(random.Next(1, Jobs.Length))]).ToArray();
            log.Add(Send(5, jobs), Start.AddSeconds(second));
            all.AddRange(jobs.Distinct().Select(job => (job, Start.AddSeconds(second), 5 * jobs.Count(j => j == job))));

            foreach (var job in Jobs)
            {
                var expected = all.TakeLast(capacity).Where(r => r.Job == job).Reverse().Take(6).Select(r => (r.At, r.Tasks));
                Assert.Equal(expected, log.Find(job, 6).Select(d => (d.At, d.TasksOfJob)));
            }
        }
    }

    [Fact]
    public void Endings_are_told_with_the_tasks_they_end()
    {
        var log = new DecisionLog(100, Start);
        var why = new Why(Reasons.JobCancelled, Tasks: 700);
        log.Add(
            new EndChunks([new(Jobs[0], 0), new(Jobs[0], 1)], TaskOutcome.Cancelled, FailureKind.Cancelled, "", why),
            Start.AddSeconds(1)
        );
        log.Add(
            new FailTasks(new Slice(Jobs[0], 2, 0, 9), FirstOnly: true, FailureKind.WorkerCrashed, "", new Why(Reasons.SuspectFound)),
            Start.AddSeconds(2)
        );

        Assert.Equal(
            [("fail_tasks", "fail.suspect", 1), ("end_chunks", "cancel.job", 700)],
            log.Find(Jobs[0], 64).Select(d => (d.Kind, d.Reason, d.TasksOfJob))
        );
    }

    [Fact]
    public void Every_number_of_a_reason_is_told()
    {
        var fields = Exemplar.FieldsOf(typeof(Why));

        var told = Enumerable
            .Range(-1, fields + 1)
            .Select(changed => Tell(Send(1, Jobs[0]) with { Why = (Why)Exemplar.Of(typeof(Why), changed) }));

        Assert.Equal(fields + 1, told.Distinct().Count());
    }

    [Theory]
    [MemberData(nameof(Decisions))]
    public void Every_decision_that_names_a_job_is_told_to_it(Type kind)
    {
        var decision = (Decision)Exemplar.Of(kind);
        var log = new DecisionLog(100, Start);

        log.Add(decision, Start);

        Assert.Equal(NamesJobs(kind), DecisionLog.JobsOf(decision).Any());
        Assert.All(DecisionLog.JobsOf(decision), job => Assert.Equal(JournalNames.Of(decision), Assert.Single(log.Find(job, 64)).Kind));
    }

    public static TheoryData<Type> Decisions => [.. Exemplar.KindsOf<Decision>()];

    /// <summary>Asks the types, so that a new kind that names jobs cannot be forgotten.</summary>
    private static bool NamesJobs(Type kind) =>
        kind == typeof(JobId)
        || kind.GetProperties()
            .Select(p => p.PropertyType)
            .SelectMany(t => t.IsGenericType ? t.GetGenericArguments() : [t])
            .Any(t => t == typeof(JobId) || (t.Namespace!.StartsWith("Pipeline", StringComparison.Ordinal) && t != kind && NamesJobs(t)));

    private static DecisionTold Tell(Decision decision)
    {
        var log = new DecisionLog(1, Start);
        log.Add(decision, Start);
        return Assert.Single(log.Find(Jobs[0], 1));
    }

    private static SendDispatch Send(int tasks, params JobId[] jobs)
    {
        var dispatch = ((Dispatch)Exemplar.Of(typeof(Dispatch))) with
        {
            Slices = [.. jobs.Select((job, no) => new Slice(job, no, 0, tasks))],
        };
        return new SendDispatch(dispatch, new Why(Reasons.BulkFull, tasks * jobs.Length));
    }
}
