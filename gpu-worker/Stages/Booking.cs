using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// What a batch cost: its device time at the device's price, what of it is padding, and every task's share, by the chosen method.
/// All are whole numbers that sum to the batch's own.
/// </summary>
internal sealed class BatchBooking
{
    private readonly long[] _weights;
    private readonly long _taskNs;
    private long[]? _taskNsShares;

    /// <param name="units">Units of each task.</param>
    /// <param name="paddedUnits">Units the device really ran, padding included.</param>
    public BatchBooking(DeviceSpan span, long[] units, long paddedUnits, DevicePrices prices, SplitMethod method)
    {
        (Span, Method) = (span, method);
        _weights = method == SplitMethod.Units ? units : Array.ConvertAll(units, _ => 1L);
        CostPico = prices.Interval(span.FromNs, span.ToNs);
        var real = method == SplitMethod.Padded ? Math.Max(1, paddedUnits) : units.Sum();
        (_taskNs, PaddingNs) = Part(span.Ns, real, paddedUnits);
        (var tasksPico, PaddingPico) = Part(CostPico, real, paddedUnits);
        TaskPico = new long[units.Length];
        Cost.Split(tasksPico, _weights, TaskPico);
    }

    public DeviceSpan Span { get; }

    public SplitMethod Method { get; }

    /// <summary>The whole batch.</summary>
    public long CostPico { get; }

    public long PaddingNs { get; }

    public long PaddingPico { get; }

    /// <summary>What each task costs.</summary>
    public long[] TaskPico { get; }

    /// <summary>Device time of each task; only asked for where some of them turn out to be waste.</summary>
    public long TaskNs(int row)
    {
        if (_taskNsShares is null)
        {
            _taskNsShares = new long[_weights.Length];
            Cost.Split(_taskNs, _weights, _taskNsShares);
        }

        return _taskNsShares[row];
    }

    /// <summary>Books it: tasks, padding, and as waste the tasks that had ended before.</summary>
    /// <param name="wasInserted">Whether the row's result was really written.</param>
    public void AddTo(LedgerSums sums, Func<int, bool> wasInserted)
    {
        sums.Add(LedgerAccount.Padding, PaddingNs, PaddingPico);
        var (duplicateNs, duplicatePico) = (0L, 0L);
        for (var row = 0; row < TaskPico.Length; row++)
        {
            if (!wasInserted(row))
            {
                duplicateNs += TaskNs(row);
                duplicatePico += TaskPico[row];
            }
        }

        sums.Add(LedgerAccount.Waste, duplicateNs, duplicatePico, "duplicate");
        sums.Add(LedgerAccount.Task, _taskNs - duplicateNs, CostPico - PaddingPico - duplicatePico);
    }

    private static (long Real, long Padding) Part(long amount, long units, long paddedUnits)
    {
        Span<long> parts = stackalloc long[2];
        Cost.Split(amount, [units, Math.Max(0, paddedUnits - units)], parts);
        return (parts[0], parts[1]);
    }
}

/// <summary>Sums an interval of the ledger by account and detail.</summary>
internal sealed class LedgerSums
{
    private readonly Dictionary<(LedgerAccount Account, string? Detail), (long Ns, long Pico)> _sums = [];

    public IReadOnlyList<LedgerEntry> Entries =>
        [.. _sums.OrderBy(s => s.Key).Select(s => new LedgerEntry(s.Key.Account, s.Value.Ns, s.Value.Pico, s.Key.Detail))];

    public void Add(LedgerAccount account, long ns, long pico, string? detail = null)
    {
        if (ns != 0 || pico != 0)
        {
            var sum = _sums.GetValueOrDefault((account, detail));
            _sums[(account, detail)] = (sum.Ns + ns, sum.Pico + pico);
        }
    }

    /// <summary>Books a span that is no batch.</summary>
    public void Add(DeviceSpan span, DevicePrices prices)
    {
        var account = span.Kind switch
        {
            SpanKind.Idle => LedgerAccount.Idle,
            SpanKind.WarmUp => LedgerAccount.WarmUp,
            SpanKind.Waste => LedgerAccount.Waste,
            _ => throw new ArgumentException("A batch is booked by its tasks.", nameof(span)),
        };
        Add(account, span.Ns, prices.Interval(span.FromNs, span.ToNs), span.Detail);
    }
}
