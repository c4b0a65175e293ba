namespace Pipeline.Simulator.Baselines;

/// <summary>The largest batch a rule of thumb allows, and the share of the offline rate it keeps.</summary>
/// <param name="BatchMax">Tasks in the batch; 0 when not even one fits.</param>
/// <param name="Kept">Rate of such batches, as a share of the rate of endless ones.</param>
internal readonly record struct Ceiling(int BatchMax, double Kept);

/// <summary>
/// Analytic ceilings of one model with one target S, for batches that take l(b) = a + B·b and arrivals as even as can be.
/// <para>
/// Eager: a task comes just after a batch began, waits for all of it, and then runs itself: 2·l(b) ≤ S. Staggered: N devices start
/// one N-th of a batch apart, so it waits for that only: (1 + 1/N)·l(b) ≤ S. The offline rate is 1/B tasks per unit of time, a batch
/// of b runs b in l(b), so b·B/l(b) is kept; b is whole, which costs a few per cent where batches are small.
/// </para>
/// </summary>
internal static class Ceilings
{
    /// <param name="a">Fixed time of a batch.</param>
    /// <param name="b">Time of one more task, in the same unit.</param>
    /// <param name="target">From arrival to result, in the same unit.</param>
    public static Ceiling Eager(double a, double b, double target) => Within(a, b, target / 2);

    /// <inheritdoc cref="Eager"/>
    /// <param name="devices">Devices that share the arrivals.</param>
    public static Ceiling Staggered(double a, double b, double target, int devices) => Within(a, b, target / (1 + (1.0 / devices)));

    /// <summary>The largest batch that takes no longer than this.</summary>
    private static Ceiling Within(double a, double b, double time)
    {
        var batch = Math.Floor((time - a) / b);
        return batch < 1 ? new Ceiling(0, 0) : new Ceiling((int)batch, batch * b / (a + (b * batch)));
    }
}
