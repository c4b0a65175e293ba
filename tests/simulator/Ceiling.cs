using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>
/// What no policy can pass: the rate of devices that run back to back, each batch the largest whose time and the mean wait for a device
/// fit the target. With l(b) = a + B·b that is the staggered bound of Symphony, <c>(1 + 1/N) · l(b) ≤ S</c> (SCHEDULER_FACTS 5.2).
/// </summary>
internal static class Ceiling
{
    /// <summary>Units per second of all devices within the target.</summary>
    /// <param name="unitsEach">Units of one task: batches are whole tasks.</param>
    public static double UnitsPerSecond(DeviceProfile device, int workers, TimeSpan target, int unitsEach = 1)
    {
        var best = 0.0;
        for (var rows = 1; rows <= 4096 && (1 + (1.0 / workers)) * device.Ns(rows * (long)unitsEach) <= target.TotalNanoseconds; rows++)
        {
            best = Math.Max(best, rows * (double)unitsEach * 1e9 / device.Ns(rows * (long)unitsEach));
        }

        // A target that not even one task alone meets: there is still a rate at which the devices keep up.
        return workers * (best > 0 ? best : unitsEach * 1e9 / device.Ns(unitsEach));
    }
}
