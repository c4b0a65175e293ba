using Pipeline.Contracts;
using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Unit.Scheduler;

public class SliceNotesTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch;
    private static readonly Guid Instance = Guid.CreateVersion7(Now);

    [Fact]
    public void A_dispatch_takes_along_who_waits_and_the_chunk()
    {
        var notes = Open(new());
        var chunk = Chunk();
        notes.Take(chunk);

        var note = Assert.Single(notes.AddTo(Dispatch(Whole(chunk))).Notes!);

        Assert.Equal((0, Instance, chunk.FirstSeq, chunk.QueuedAt), (note.Slice, note.ReplyTo, note.FirstSeq, note.QueuedAt));
        Assert.Equal(chunk.Payload, note.Payload);
    }

    [Fact]
    public void A_chunk_travels_once_and_who_waits_is_told_again()
    {
        var notes = Open(new());
        var chunk = Chunk();
        notes.Take(chunk);
        notes.AddTo(Dispatch(Whole(chunk)));

        var again = Assert.Single(notes.AddTo(Dispatch(Whole(chunk))).Notes!);

        Assert.Equal(Instance, again.ReplyTo);
        Assert.Null(again.Payload);
    }

    [Fact]
    public void Part_of_a_chunk_is_read_from_its_row()
    {
        var notes = Open(new());
        var chunk = Chunk();
        notes.Take(chunk);

        Assert.Null(Assert.Single(notes.AddTo(Dispatch(new Slice(chunk.Job, 0, 1, 1))).Notes!).Payload);
    }

    [Fact]
    public void What_is_done_is_forgotten_and_what_came_without_is_not_kept()
    {
        var notes = Open(new());
        var chunk = Chunk();
        notes.Take(chunk);
        notes.Take(Chunk() with { ReplyTo = null, Payload = null });
        Assert.Equal(1, notes.Count);

        notes.Take(Report(chunk, SliceOutcome.HandedBack));
        Assert.Equal(1, notes.Count);
        notes.Take(Report(chunk, SliceOutcome.Done));

        Assert.Equal(0, notes.Count);
        Assert.Null(notes.AddTo(Dispatch(Whole(chunk))).Notes);
    }

    [Fact]
    public void The_oldest_go_where_there_are_too_many()
    {
        var notes = Open(new() { NotesMax = 2 });
        ChunkSubmitted[] chunks = [Chunk(), Chunk(), Chunk()];
        Array.ForEach(chunks, notes.Take);

        Assert.Equal(2, notes.Count);
        Assert.Null(notes.AddTo(Dispatch(Whole(chunks[0]))).Notes);
        Assert.NotNull(notes.AddTo(Dispatch(Whole(chunks[2]))).Notes);
    }

    [Fact]
    public void Payloads_take_no_more_memory_than_they_may_and_give_it_back()
    {
        var notes = Open(new() { NotedBytesMax = 4 });
        ChunkSubmitted[] chunks = [Chunk(), Chunk(), Chunk()];
        notes.Take(chunks[0]);
        notes.Take(chunks[1]);
        Assert.NotNull(notes.AddTo(Dispatch(Whole(chunks[0]))).Notes![0].Payload);
        Assert.Null(notes.AddTo(Dispatch(Whole(chunks[1]))).Notes![0].Payload);

        notes.Take(chunks[2]);
        Assert.NotNull(notes.AddTo(Dispatch(Whole(chunks[2]))).Notes![0].Payload);
    }

    [Fact]
    public void A_spare_keeps_nothing_and_a_term_that_is_over_leaves_nothing()
    {
        var notes = new SliceNotes(new SchedulerOptions());
        var chunk = Chunk();
        notes.Take(chunk);
        Assert.Equal(0, notes.Count);

        notes.Open();
        notes.Take(chunk);
        notes.Close();

        Assert.Equal(0, notes.Count);
        Assert.Null(notes.AddTo(Dispatch(Whole(chunk))).Notes);
    }

    private static SliceNotes Open(SchedulerOptions options)
    {
        var notes = new SliceNotes(options);
        notes.Open();
        return notes;
    }

    private static ChunkSubmitted Chunk() =>
        new()
        {
            Job = JobId.New(Now),
            No = 0,
            Tenant = TenantId.New(Now),
            Model = new ModelRef("m", "1"),
            Class = LatencyClass.Express,
            Deadline = Now.AddMinutes(1),
            QueuedAt = Now,
            FirstSeq = 0,
            Tasks = 2,
            Units = 2,
            UnitsMax = 1,
            ReplyTo = Instance,
            Payload = [1, 2, 3],
        };

    private static Slice Whole(ChunkSubmitted chunk) => new(chunk.Job, chunk.No, 0, chunk.Tasks);

    private static Dispatch Dispatch(params Slice[] slices) =>
        new()
        {
            Id = DispatchId.New(Now),
            Epoch = 1,
            Worker = WorkerId.New(Now),
            Lane = Lane.Express,
            Model = new ModelRef("m", "1"),
            Slices = slices,
            BatchTimeMax = TimeSpan.FromMilliseconds(100),
            PaddedUnitsMax = 100,
            Reason = "express.free",
        };

    private static DispatchFinished Report(ChunkSubmitted chunk, SliceOutcome outcome) =>
        new()
        {
            Id = DispatchId.New(Now),
            Epoch = 1,
            Worker = WorkerId.New(Now),
            Lane = Lane.Express,
            Model = chunk.Model,
            Slices = [new SliceReport(chunk.Job, chunk.No, 0, chunk.Tasks, outcome)],
            Batches = [],
        };
}
