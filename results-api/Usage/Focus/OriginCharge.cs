using System.Numerics;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Usage.Focus;

/// <summary>Whose an allocated charge is; null for what no task had.</summary>
internal sealed record Consumer(Guid Tenant, string TenantName, string Class, string Model, long Tasks, long Units);

/// <summary>A part of an origin charge: a consumer's tasks, or an account nobody consumed.</summary>
/// <param name="Ns">Device time, in nanoseconds.</param>
internal sealed record Allocation(string Account, string Detail, Consumer? Consumer, long Ns, long Pico);

/// <summary>An allocated charge: its exact share of an origin charge.</summary>
/// <param name="Ratio">In units of 10⁻¹⁸; the ratios of an origin charge sum to 10¹⁸.</param>
/// <param name="Hours">In units of 10⁻¹⁵ h; the hours of an origin charge sum to its own.</param>
internal sealed record AllocatedCharge(Allocation Part, BigInteger Ratio, BigInteger Hours);

/// <summary>
/// What a pool's devices of one price cost on one UTC day, and how it is split by the method <see cref="Method"/>: first by device time
/// into the accounts of the ledger, as the worker booked it; the account <c>task</c> then by units to tenant, class and model, as its
/// results say. Padding, idle, warm-up and waste are kept apart as charges of their own: nobody is charged for them here.
/// </summary>
internal sealed class OriginCharge(
    DateOnly day,
    string pool,
    long pricePerHourPico,
    IReadOnlyList<Allocation> booked,
    IReadOnlyList<Allocation> consumed
)
{
    public const string Method = "units.v1";
    public const string SharedCostRule = "kept_apart";

    public const int RatioDigits = 18;
    public const int HoursDigits = 15;
    private const long NanosecondsPerHour = 3_600_000_000_000;

    public DateOnly Day => day;
    public string Pool => pool;
    public long PricePerHourPico => pricePerHourPico;
    public string Id => FormattableString.Invariant($"{day:yyyy-MM-dd}/{pool}/{pricePerHourPico}");

    /// <summary>Pico-USD of the whole.</summary>
    public long Pico { get; } = booked.Sum(part => part.Pico);

    /// <summary>Device time of the whole, in units of 10⁻¹⁵ h, rounded down.</summary>
    public BigInteger Hours { get; } = booked.Sum(part => part.Ns) * BigInteger.Pow(10, HoursDigits) / NanosecondsPerHour;

    /// <summary>Splits it. Costs, hours and ratios of the parts sum to those of the whole exactly.</summary>
    public IReadOnlyList<AllocatedCharge> Split()
    {
        Allocation[] parts = [.. booked.Where(part => part.Account != LedgerAccount.Task.Name()), .. Tasks()];
        var ns = Array.ConvertAll(parts, part => (BigInteger)part.Ns);
        var pico = Array.ConvertAll(parts, part => (BigInteger)part.Pico);
        var ratios = LargestRemainder(BigInteger.Pow(10, RatioDigits), Pico > 0 ? pico : ns);
        var hours = InHours(ns);
        return [.. parts.Select((part, i) => new AllocatedCharge(part, ratios[i], hours[i]))];
    }

    /// <summary>
    /// The account <c>task</c>, split to who consumed it. Where the results come to less (work from before the ledger knew its
    /// transactions, around midnight), the rest stays nobody's; where they come to more, the account is split in their proportion.
    /// </summary>
    private IEnumerable<Allocation> Tasks()
    {
        var task = booked.Where(part => part.Account == LedgerAccount.Task.Name()).ToArray();
        var (ns, pico) = (task.Sum(part => part.Ns), task.Sum(part => part.Pico));
        if (task.Length == 0)
        {
            return [];
        }

        var rest = pico - consumed.Sum(part => part.Pico);
        Allocation[] parts =
        [
            .. consumed,
            .. rest > 0 || consumed.Count == 0
                ? (Allocation[])[new(LedgerAccount.Task.Name(), "unassigned", null, 0, Math.Max(0, rest))]
                : [],
        ];
        var picos =
            rest >= 0
                ? [.. parts.Select(part => part.Pico)]
                : LargestRemainder(pico, [.. parts.Select(part => (BigInteger)part.Pico)]).Select(share => (long)share).ToArray();

        // At one price time is as cost; devices for nothing are shared by units.
        BigInteger[] weights = [.. parts.Select((part, i) => pico > 0 ? picos[i] : (BigInteger)(part.Consumer?.Units ?? 0))];
        var nss = LargestRemainder(ns, weights);
        return parts.Select((part, i) => part with { Pico = picos[i], Ns = (long)nss[i] });
    }

    /// <summary>
    /// Times in units of 10⁻¹⁵ h that sum to <see cref="Hours"/>: each rounded down, what is left to those that lost most. A time may be less than
    /// nothing, where a correction took more from an account than the day brought it, and all together may be nothing.
    /// </summary>
    private BigInteger[] InHours(BigInteger[] ns)
    {
        var unit = BigInteger.Pow(10, HoursDigits);
        var (hours, rests) = (new BigInteger[ns.Length], new BigInteger[ns.Length]);
        for (var i = 0; i < ns.Length; i++)
        {
            (hours[i], rests[i]) = DivideDown(ns[i] * unit, NanosecondsPerHour);
        }

        return GiveRest(Hours, hours, rests);
    }

    /// <summary>
    /// <see cref="Cost.Split"/> over numbers of any size, also negative ones whose sum is not: shares in proportion to weights that sum to the amount exactly; ties go to the
    /// earlier entry, and with no weight at all everything goes to the first.
    /// </summary>
    internal static BigInteger[] LargestRemainder(BigInteger amount, BigInteger[] weights)
    {
        var total = weights.Aggregate(BigInteger.Zero, (sum, weight) => sum + weight);
        if (total.IsZero)
        {
            return [.. weights.Select((_, i) => i == 0 ? amount : 0)];
        }

        var (shares, rests) = (new BigInteger[weights.Length], new BigInteger[weights.Length]);
        for (var i = 0; i < weights.Length; i++)
        {
            (shares[i], rests[i]) = DivideDown(amount * weights[i], total);
        }

        return GiveRest(amount, shares, rests);
    }

    /// <summary>Adds 1 to as many shares as they lack of the amount, the largest rests first.</summary>
    private static BigInteger[] GiveRest(BigInteger amount, BigInteger[] shares, BigInteger[] rests)
    {
        var left = (int)(amount - shares.Aggregate(BigInteger.Zero, (sum, share) => sum + share));
        foreach (var i in Enumerable.Range(0, shares.Length).OrderByDescending(i => rests[i]).ThenBy(i => i).Take(left))
        {
            shares[i]++;
        }

        return shares;
    }

    /// <summary>The quotient rounded down, also below 0, so that the rest never is; by a divisor above 0.</summary>
    private static (BigInteger Quotient, BigInteger Remainder) DivideDown(BigInteger number, BigInteger by)
    {
        var quotient = BigInteger.DivRem(number, by, out var rest);
        return rest.Sign < 0 ? (quotient - 1, rest + by) : (quotient, rest);
    }
}
