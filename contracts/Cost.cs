namespace Pipeline.Contracts;

/// <summary>
/// Money and device time as integers, so that books close to the last digit. Amounts are pico-USD (10⁻¹² $), times nanoseconds.
/// At $0.10 per hour and 50,000 tasks/s a task costs 556 pico-USD; in nano-USD it would be 0 or 1.
/// </summary>
public static class Cost
{
    public const long PicoPerUsd = 1_000_000_000_000;
    private const long NanosecondsPerHour = 3_600_000_000_000;

    /// <summary>
    /// Cost of a device from its start until <paramref name="elapsedNs"/>, rounded down. An interval costs the difference of two
    /// of these totals, so intervals that tile a life sum to the cost of that life exactly (they telescope).
    /// </summary>
    public static long RunningTotal(long elapsedNs, long pricePerHourPico) =>
        (long)((Int128)elapsedNs * pricePerHourPico / NanosecondsPerHour);

    /// <summary>Cost of the interval from <paramref name="fromNs"/> to <paramref name="toNs"/>.</summary>
    public static long Interval(long fromNs, long toNs, long pricePerHourPico) =>
        RunningTotal(toNs, pricePerHourPico) - RunningTotal(fromNs, pricePerHourPico);

    /// <summary>
    /// What so many units are charged at, rounded down to the pico-dollar: a price is of a million units. More than can be stored is the
    /// most that can.
    /// </summary>
    public static long PriceOf(long units, long perMillionUnitsPico) =>
        (long)Int128.Min(long.MaxValue, (Int128)units * perMillionUnitsPico / 1_000_000);

    /// <summary>
    /// Splits an amount in proportion to weights by the method of the largest remainder; ties go to the earlier entry.
    /// The shares sum to the amount exactly. With no weight at all everything goes to the first entry.
    /// </summary>
    /// <param name="amount">What to split, 0 or more.</param>
    /// <param name="weights">One weight an entry, none negative.</param>
    /// <param name="shares">Receives one share an entry; as long as <paramref name="weights"/>.</param>
    public static void Split(long amount, ReadOnlySpan<long> weights, Span<long> shares)
    {
        if (weights.Length == 0)
        {
            return;
        }

        Int128 total = 0;
        foreach (var weight in weights)
        {
            total += weight;
        }

        if (total == 0)
        {
            shares[..weights.Length].Clear();
            shares[0] = amount;
            return;
        }

        var left = amount;
        var order = new (Int128 Remainder, int Index)[weights.Length];
        for (var i = 0; i < weights.Length; i++)
        {
            var (share, remainder) = Int128.DivRem((Int128)amount * weights[i], total);
            shares[i] = (long)share;
            left -= shares[i];
            order[i] = (remainder, i);
        }

        if (left == 0)
        {
            return;
        }

        Array.Sort(order, static (a, b) => a.Remainder != b.Remainder ? b.Remainder.CompareTo(a.Remainder) : a.Index.CompareTo(b.Index));
        for (var i = 0; i < left; i++)
        {
            shares[order[i].Index]++;
        }
    }

    /// <summary>Dollars for people, with as many digits as a small amount needs: <c>$0.000000556</c>.</summary>
    public static string Format(Int128 pico)
    {
        var sign = pico < 0 ? "-" : "";
        var (dollars, rest) = Int128.DivRem(Int128.Abs(pico), PicoPerUsd);
        var fraction = ((long)rest).ToString("D12", System.Globalization.CultureInfo.InvariantCulture).TrimEnd('0').PadRight(2, '0');
        return $"{sign}${dollars}.{fraction}";
    }
}

/// <summary>The accounts of a worker's life; every nanosecond is in exactly one.</summary>
public enum LedgerAccount
{
    /// <summary>Device time of tasks, by their real units.</summary>
    Task,

    /// <summary>Device time spent on padded units.</summary>
    Padding,

    /// <summary>The device had nothing to run.</summary>
    Idle,

    /// <summary>Loading and warming models.</summary>
    WarmUp,

    /// <summary>Run for nothing: twice, bisected, cancelled, or lost with the process.</summary>
    Waste,
}

/// <summary>Wire names of accounts.</summary>
public static class LedgerAccounts
{
    public static string Name(this LedgerAccount account) =>
        account switch
        {
            LedgerAccount.Task => "task",
            LedgerAccount.Padding => "padding",
            LedgerAccount.Idle => "idle",
            LedgerAccount.WarmUp => "warm_up",
            _ => "waste",
        };
}
