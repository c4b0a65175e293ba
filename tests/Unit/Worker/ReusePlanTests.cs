using System.Globalization;
using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

/// <summary>Chunks are written as <c>"- - 0"</c>: two tasks of their own, and a copy of the job's task 0. <c>x</c> has a result.</summary>
public sealed class ReusePlanTests
{
    private static readonly JobId Job = JobId.New(DateTimeOffset.UnixEpoch);

    [Theory]
    [InlineData("- - -", "", "0 1 2", "", "")]
    [InlineData("- - 0 1 0", "", "0 1", "", "0: 2 4, 1: 3")]
    [InlineData("- -", "1 0 -", "0 1 4", "", "0: 3, 1: 2")]
    [InlineData("x -", "0 1 0", "0", "1 of 0", "0: 2, 1: 3")]
    [InlineData("x x", "0 0 1 1", "", "0 of 0, 2 of 1", "0: 1, 2: 3")]
    [InlineData("x -", "0 x 0", "0", "1 of 0", "1: 2")]
    public void A_copy_follows_its_original_or_the_first_copy_of_one_that_is_elsewhere(
        string first,
        string second,
        string toRun,
        string elsewhere,
        string followers
    )
    {
        var plan = ReusePlan.Of(Run(Job, Job, first, second));

        Assert.Equal(toRun, string.Join(' ', plan.ToRun));
        Assert.Equal(elsewhere, string.Join(", ", plan.Elsewhere.Select(e => $"{e.Task} of {e.Original}")));
        Assert.Equal(followers, string.Join(", ", plan.Followers.OrderBy(f => f.Key).Select(f => $"{f.Key}: {string.Join(' ', f.Value)}")));
    }

    [Fact]
    public void Tasks_of_another_job_are_no_originals()
    {
        var plan = ReusePlan.Of(Run(Job, JobId.New(DateTimeOffset.UnixEpoch), "- -", "0"));

        Assert.Equal((2, 0), Assert.Single(plan.Elsewhere));
        Assert.Empty(plan.Followers);
    }

    private static DispatchRun Run(JobId firstJob, JobId secondJob, string first, string second)
    {
        var firstCount = first.Split(' ').Length;
        var (slices, tasks) = (new List<SliceRun>(), new List<TaskRef>());
        foreach (var (job, no, firstSeq, text) in new[] { (firstJob, 0, 0, first), (secondJob, 1, firstCount, second) })
        {
            var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var chunk = new ChunkPayloadWriter();
            for (var i = 0; i < words.Length; i++)
            {
                int? copyOf = int.TryParse(words[i], CultureInfo.InvariantCulture, out var seq) ? seq : null;
                chunk.Add(Encoding.UTF8.GetBytes($"t-{firstSeq + i}"), "input"u8, 1, copyOf);
                if (words[i] != "x")
                {
                    tasks.Add(new TaskRef(no, firstSeq + i, $"t-{firstSeq + i}", null));
                }
            }

            slices.Add(
                new SliceRun(new Slice(job, no, 0, words.Length)) { FirstSeq = firstSeq, Unpacked = ChunkPayload.Read(chunk.Finish()) }
            );
        }

        var dispatch = new Dispatch
        {
            Id = DispatchId.New(DateTimeOffset.UnixEpoch),
            Epoch = 1,
            Worker = WorkerId.New(DateTimeOffset.UnixEpoch),
            Lane = Lane.Bulk,
            Model = new ModelRef("m", "1"),
            Slices = [.. slices.Select(s => s.Slice)],
            BatchTimeMax = TimeSpan.FromSeconds(1),
            PaddedUnitsMax = 1,
            Reason = "test",
        };
        return new DispatchRun(dispatch, DateTimeOffset.UnixEpoch) { Slices = [.. slices], Tasks = [.. tasks] };
    }
}
