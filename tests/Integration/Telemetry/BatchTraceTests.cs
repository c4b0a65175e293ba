using Pipeline.Contracts;
using Pipeline.Tests.Support.Telemetry;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Telemetry;

/// <summary>What a worker's steps leave in the traces of the jobs they are for.</summary>
public sealed class BatchTraceTests
{
    [Fact]
    public async Task A_batch_of_two_traced_jobs_is_one_span_linked_to_both()
    {
        var (first, second) = (RecordedSpans.NewTrace(), RecordedSpans.NewTrace());
        using var spans = new RecordedSpans(first.TraceId, second.TraceId);
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 8);
        var one = await world.SeedAsync(["a", "b"]);
        var other = await world.SeedAsync(["c", "d"]);

        // The first came with a note of the scheduler's; of the second only the row knows, as after a take-over.
        await TraceAsync(world, other, second.Traceparent);
        var note = new SliceNote(0, null, 0, DateTimeOffset.UtcNow, null, null, first.Traceparent);
        await world.RunAsync(one, d => d with { Slices = [.. one.Slices, .. other.Slices], Notes = [note] });

        var infer = Assert.Single(spans.Stopped, span => span.OperationName == $"infer {FakeModels.Name.Name}");
        Assert.Equal(first.TraceId, infer.TraceId);
        Assert.Equal(
            new[] { first.TraceId, second.TraceId }.OrderBy(id => id.ToHexString()),
            infer.Links.Select(link => link.Context.TraceId).OrderBy(id => id.ToHexString())
        );
        Assert.Equal(4, infer.GetTagItem("pipeline.tasks"));
        Assert.Contains(spans.Stopped, span => span.OperationName == "write results" && span.TraceId == first.TraceId);
    }

    [Fact]
    public async Task Only_the_first_chunks_of_a_traced_job_have_spans()
    {
        var trace = RecordedSpans.NewTrace();
        using var spans = new RecordedSpans(trace.TraceId);
        await using var world = await WorkerWorld.StartAsync(settings: ("Telemetry:TracedChunksMax", "1"));
        var job = await world.SeedAsync(["a", "b"], chunkTasks: 1);
        await TraceAsync(world, job, trace.Traceparent);

        await world.RunAsync(job, d => d with { Slices = [job.Slices[1]] });
        Assert.Empty(spans.Stopped);

        await world.RunAsync(job, d => d with { Slices = [job.Slices[0]] });
        Assert.NotEmpty(spans.Stopped);
    }

    private static async Task TraceAsync(WorkerWorld world, SeededJob job, string traceparent) =>
        await world.Database.ExecuteAsync("UPDATE jobs SET traceparent = $2 WHERE id = $1", job.Slices[0].Job.Value, traceparent);
}
