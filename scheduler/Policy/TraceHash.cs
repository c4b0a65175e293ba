using System.Buffers.Binary;
using System.Numerics;
using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// A running 64-bit hash over the content of decisions, in their order: two runs with equal hashes decided the same. Each word is mixed
/// in with a multiplication and a rotation, and the end is scrambled, as in xxHash64 and MurmurHash3. It tells accidents apart, not forgeries.
/// </summary>
internal sealed class TraceHash
{
    private const ulong Odd1 = 0x9E37_79B9_7F4A_7C15; // 2^64 ÷ the golden ratio
    private const ulong Odd2 = 0xBF58_476D_1CE4_E5B9; // SplitMix64's first multiplier
    private ulong _state = Odd1;

    /// <summary>The hash of all that was added.</summary>
    public ulong Value
    {
        get
        {
            var value = _state;
            value = (value ^ (value >> 30)) * Odd2;
            value = (value ^ (value >> 27)) * Odd1;
            return value ^ (value >> 31);
        }
    }

    public static string Text(ulong hash) => hash.ToString("x16", System.Globalization.CultureInfo.InvariantCulture);

    public void Add(IReadOnlyList<Decision> decisions)
    {
        for (var i = 0; i < decisions.Count; i++)
        {
            Add(decisions[i]);
        }
    }

    /// <summary>Adds everything a decision says. One of an unknown kind counts by its type and its reason.</summary>
    public void Add(Decision decision)
    {
        Add(JournalNames.Of(decision) ?? decision.GetType().Name);
        Add(decision.Why);
        switch (decision)
        {
            case SendDispatch send:
                Add(send.Dispatch);
                break;
            case EndChunks end:
                Add(end.Chunks.Count);
                foreach (var chunk in end.Chunks)
                {
                    Add(chunk.Job.Value);
                    Add(chunk.No);
                }

                Add((long)end.Outcome);
                Add((long)end.Kind);
                Add(end.Message);
                break;
            case FailTasks fail:
                Add(fail.Slice);
                Add(fail.FirstOnly ? 1 : 0);
                Add((long)fail.Kind);
                Add(fail.Message);
                break;
            case RelegateJob relegate:
                Add(relegate.Job.Value);
                break;
            case PromoteJob promote:
                Add(promote.Job.Value);
                break;
            case MoveJob move:
                Add(move.Job.Value);
                break;
            case DeclareLost lost:
                Add(lost.Worker.Value);
                break;
            case WantWorkers want:
                Add(want.Pool);
                Add(want.Workers);
                break;
        }
    }

    private void Add(in Why why)
    {
        Add(why.Code);
        Add(why.Tasks);
        Add(why.Units);
        Add(why.Estimated.Ticks);
        Add(why.Slack.Ticks);
        Add(why.ChunksWaiting);
    }

    private void Add(Dispatch dispatch)
    {
        Add(dispatch.Version);
        Add(dispatch.Id.Value);
        Add(dispatch.Epoch);
        Add(dispatch.Worker.Value);
        Add((long)dispatch.Lane);
        Add(dispatch.Model.Name);
        Add(dispatch.Model.Version);
        Add(dispatch.Slices.Count);
        foreach (var slice in dispatch.Slices)
        {
            Add(slice);
        }

        Add(dispatch.BatchTimeMax.Ticks);
        Add(dispatch.PaddedUnitsMax);
        Add(dispatch.BatchCostUnits is { } cost ? BitConverter.DoubleToInt64Bits(cost) : -1);
        Add(dispatch.CommitRowsMax ?? -1);
        Add(dispatch.Reason);
        // The policy sends none; the hash of what it does send stays what it was.
        foreach (var note in dispatch.Notes ?? [])
        {
            Add(note.Slice);
            Add(note.ReplyTo ?? Guid.Empty);
            Add(note.FirstSeq);
            Add(note.QueuedAt.UtcTicks);
            Add(note.Payload is { } payload ? Convert.ToHexString(payload) : null);
            if (note.Step is { } step)
            {
                Add(step);
            }

            Add(note.Traceparent);
        }
    }

    private void Add(RouteStep step)
    {
        Add(step.Turn);
        Add(Bits(step.Accept?.ProbabilityMin));
        Add(Bits(step.Accept?.MarginMin));
        Add(step.Accept?.UnitsMax ?? -1);
        Add(step.Next?.Name);
        Add(step.Next?.Version);

        static long Bits(double? threshold) => threshold is { } given ? BitConverter.DoubleToInt64Bits(given) : -1;
    }

    private void Add(Slice slice)
    {
        Add(slice.Job.Value);
        Add(slice.No);
        Add(slice.First);
        Add(slice.Count);
    }

    private void Add(Guid id)
    {
        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes, bigEndian: true, out _);
        Add(BinaryPrimitives.ReadInt64BigEndian(bytes));
        Add(BinaryPrimitives.ReadInt64BigEndian(bytes[8..]));
    }

    /// <summary>Its length first, so that two texts side by side do not run into each other.</summary>
    private void Add(string? text)
    {
        Add(text?.Length ?? -1);
        foreach (var letter in text ?? "")
        {
            Add((long)letter);
        }
    }

    private void Add(long word) => _state = BitOperations.RotateLeft(_state ^ ((ulong)word * Odd2), 29) * Odd1;
}
