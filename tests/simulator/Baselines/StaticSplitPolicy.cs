using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// The fleet cut in two: the first <c>expressDevices</c> living devices serve express alone, eagerly and in deadline order, the others
/// serve standard and bulk. Neither side ever helps the other: what a dedicated fleet costs is what mixing can win.
/// </summary>
/// <param name="expressDevices">Devices of the express side; 0 for a share of them.</param>
/// <param name="expressShare">That share, at least one device.</param>
internal sealed class StaticSplitPolicy(BaselineSetup setup, int expressDevices = 0, double expressShare = 0.5) : Baseline(setup)
{
    protected override void Decide()
    {
        var border = Border();
        while (FirstWaiting(LatencyClass.Express) is { } model && IdleFor(model, d => d.No <= border) is { } device)
        {
            Send(device, model, model.Express, ExpressTasks(model, device, ExpressCount), "split.express");
        }

        while (SendBulk(d => d.No > border)) { }
    }

    private int ExpressCount =>
        Math.Min(expressDevices > 0 ? expressDevices : Math.Max(1, (int)(Devices.Count * expressShare)), Devices.Count);

    /// <summary>The number of the last device on the express side.</summary>
    private int Border() => Devices.Count == 0 ? 0 : Devices[ExpressCount - 1].No;
}
