using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The last decisions, kept so that a job's can be asked for. A ring of records, one for each decision and job it is about; a record
/// knows the one before it of the same job, so a look-up costs as much as it finds. At most <c>capacity</c> records of about 200 bytes.
/// What a decision says of chunks is not kept, only its reason, its numbers and where it sent the work.
/// </summary>
/// <param name="capacity">At least as many as the jobs of one decision.</param>
/// <param name="since">When the log begins.</param>
internal sealed class DecisionLog(int capacity, DateTimeOffset since)
{
    private readonly Record[] _ring = new Record[capacity];

    /// <summary>The number of each job's last record. Who has none in the ring any more is not in here.</summary>
    private readonly Dictionary<JobId, long> _last = [];

    /// <summary>The number of the next record; record <c>n</c> stands at <c>n % capacity</c> until <c>n + capacity</c> replaces it.</summary>
    private long _next;

    /// <summary>Nothing that was decided after this time is missing.</summary>
    public DateTimeOffset Since { get; private set; } = since;

    public void Add(Decision decision, DateTimeOffset at)
    {
        switch (decision)
        {
            case SendDispatch { Dispatch: var dispatch }:
                var sent = Note.Of(decision, at) with { Worker = dispatch.Worker, Lane = dispatch.Lane, Dispatch = dispatch.Id };
                foreach (var slice in dispatch.Slices)
                {
                    Add(slice.Job, sent, slice.Count);
                }

                break;
            case EndChunks end:
                var ended = Note.Of(decision, at);
                for (var i = 0; i < end.Chunks.Count; i++)
                {
                    // One ending is about one job, and its reason counts the tasks.
                    Add(end.Chunks[i].Job, ended, i == 0 ? end.Why.Tasks : 0);
                }

                break;
            case FailTasks fail:
                Add(fail.Slice.Job, Note.Of(decision, at), fail.FirstOnly ? 1 : fail.Slice.Count);
                break;
            case RelegateJob relegate:
                Add(relegate.Job, Note.Of(decision, at), relegate.Why.Tasks);
                break;
            case PromoteJob promote:
                Add(promote.Job, Note.Of(decision, at), promote.Why.Tasks);
                break;
            case MoveJob move:
                Add(move.Job, Note.Of(decision, at), move.Why.Tasks);
                break;
        }
    }

    /// <returns>The job's last decisions, newest first.</returns>
    public IReadOnlyList<DecisionTold> Find(JobId job, int most)
    {
        var found = new List<DecisionTold>();
        var at = _last.GetValueOrDefault(job, -1);
        while (at >= 0 && at >= _next - capacity && found.Count < most)
        {
            ref readonly var record = ref _ring[at % capacity];
            found.Add(record.Note.Tell(record.Tasks));
            at = record.Before;
        }

        return found;
    }

    /// <summary>The jobs a decision is about, in the order it names them.</summary>
    public static IEnumerable<JobId> JobsOf(Decision decision) =>
        decision switch
        {
            SendDispatch send => send.Dispatch.Slices.Select(s => s.Job).Distinct(),
            EndChunks end => end.Chunks.Select(c => c.Job).Distinct(),
            FailTasks fail => [fail.Slice.Job],
            RelegateJob relegate => [relegate.Job],
            PromoteJob promote => [promote.Job],
            MoveJob move => [move.Job],
            _ => [],
        };

    private void Add(JobId job, Note note, int tasks)
    {
        var before = _last.GetValueOrDefault(job, -1);
        if (before >= 0 && ReferenceEquals(_ring[before % capacity].Note, note))
        {
            _ring[before % capacity].Tasks += tasks;
            return;
        }

        ref var slot = ref _ring[_next % capacity];
        if (_next >= capacity)
        {
            Forget(slot, _next - capacity);
            before = _last.GetValueOrDefault(job, -1);
        }

        slot = new Record(job, note, tasks, before);
        _last[job] = _next++;
    }

    private void Forget(in Record oldest, long number)
    {
        if (oldest.Note.At > Since)
        {
            Since = oldest.Note.At;
        }

        if (_last.GetValueOrDefault(oldest.Job, -1) == number)
        {
            _last.Remove(oldest.Job);
        }
    }

    private struct Record(JobId job, Note note, int tasks, long before)
    {
        public readonly JobId Job = job;
        public readonly Note Note = note;
        public int Tasks = tasks;

        /// <summary>The number of the job's record before this; −1 for none. It may have been replaced since.</summary>
        public readonly long Before = before;
    }

    /// <summary>What is kept of a decision, once for all jobs it is about.</summary>
    private sealed record Note(DateTimeOffset At, string Kind, Why Why)
    {
        public WorkerId? Worker { get; init; }
        public Lane? Lane { get; init; }
        public DispatchId? Dispatch { get; init; }

        public static Note Of(Decision decision, DateTimeOffset at) =>
            new(at, JournalNames.Of(decision) ?? decision.GetType().Name, decision.Why);

        public DecisionTold Tell(int tasksOfJob) =>
            new()
            {
                At = At,
                Kind = Kind,
                Reason = Why.Code,
                TasksOfJob = tasksOfJob,
                Tasks = Why.Tasks,
                Units = Why.Units,
                Estimated = Why.Estimated,
                Slack = Why.Slack,
                ChunksWaiting = Why.ChunksWaiting,
                Worker = Worker,
                Lane = Lane,
                Dispatch = Dispatch,
            };
    }
}
