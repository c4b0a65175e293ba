namespace Pipeline.Contracts;

/// <summary>From <paramref name="FromNs"/> of a worker's clock on its device costs this.</summary>
public readonly record struct PriceStep(long FromNs, long PricePerHourPico);

/// <summary>
/// What a worker's device costs an hour over its life: a staircase of prices on its own clock. An interval costs the sum of its parts
/// between the steps, each the difference of two rounded running totals (<see cref="Cost.Interval"/>): so intervals that tile a life sum
/// to the cost of that life exactly, wherever they are cut and wherever the price changes.
/// </summary>
public sealed class DevicePrices
{
    private readonly PriceStep[] _steps;

    /// <param name="steps">In order of time, the first at 0.</param>
    /// <exception cref="ArgumentException">There is no step at 0, or they are not in order.</exception>
    public DevicePrices(params ReadOnlySpan<PriceStep> steps)
    {
        _steps = [.. steps];
        for (var i = 0; i < Math.Max(1, _steps.Length); i++)
        {
            if (_steps.Length == 0 || (i == 0 ? _steps[0].FromNs != 0 : _steps[i].FromNs <= _steps[i - 1].FromNs))
            {
                throw new ArgumentException("Prices expect steps in order of time, the first at 0 ns.", nameof(steps));
            }
        }
    }

    /// <summary>The price per hour at a moment, in pico-USD.</summary>
    public long At(long ns) => _steps[Step(ns)].PricePerHourPico;

    /// <summary>Cost of the interval from <paramref name="fromNs"/> to <paramref name="toNs"/>, in pico-USD.</summary>
    public long Interval(long fromNs, long toNs)
    {
        var pico = 0L;
        for (var step = Step(fromNs); step < _steps.Length && (_steps[step].FromNs < toNs || step == 0); step++)
        {
            var end = step + 1 < _steps.Length ? Math.Min(toNs, _steps[step + 1].FromNs) : toNs;
            pico += Cost.Interval(Math.Max(fromNs, _steps[step].FromNs), end, _steps[step].PricePerHourPico);
        }

        return pico;
    }

    /// <summary>True when both say the same of every moment.</summary>
    public bool SameAs(DevicePrices other) => _steps.AsSpan().SequenceEqual(other._steps);

    private int Step(long ns)
    {
        var step = _steps.Length - 1;
        while (step > 0 && _steps[step].FromNs > ns)
        {
            step--;
        }

        return step;
    }
}
