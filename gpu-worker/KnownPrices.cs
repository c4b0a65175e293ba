using Pipeline.Contracts;

namespace Pipeline.GpuWorker;

/// <summary>
/// What this life's device costs, as was heard last: when it registered, or when a commit found that a price has been set since. A price
/// is set before it holds, so nothing that was booked is ever wrong.
/// </summary>
internal sealed class KnownPrices(DevicePrices atFirst)
{
    private volatile DevicePrices _value = atFirst;

    public DevicePrices Value => _value;

    /// <summary>False when that was known.</summary>
    public bool Learn(DevicePrices prices)
    {
        if (prices.SameAs(_value))
        {
            return false;
        }

        _value = prices;
        return true;
    }
}
