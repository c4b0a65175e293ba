using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Deadline order with strict lanes and a saturation gate, after the flow control of llm-d's router: bands are served strictly by priority,
/// each in deadline order, work is bound late to a free device, and the lower bands are held back while the fleet is saturated. Saturation
/// is the larger of the share of devices that are busy and the express tasks waiting per device over the depth that counts as full.
/// </summary>
/// <param name="gate">Standard and bulk are admitted while the saturation is below this.</param>
/// <param name="depthFull">Waiting express tasks per device that count as full; 5 by default, as its detector has.</param>
internal sealed class LlmdPolicy(BaselineSetup setup, double gate = 0.8, int depthFull = 5) : Baseline(setup)
{
    protected override void Decide()
    {
        while (Idle.Count > 0 && FirstWaiting(LatencyClass.Express) is { } model)
        {
            var device = IdleFor(model)!;
            Send(device, model, model.Express, ExpressTasks(model, device), "llmd.express");
        }

        while (Idle.Count > 0 && Saturation() < gate && SendBulk()) { }
    }

    private double Saturation()
    {
        var waiting = 0L;
        foreach (var model in Models)
        {
            waiting += model.Express.Tasks;
        }

        var devices = Math.Max(1, Devices.Count);
        return Math.Max((double)(devices - Idle.Count) / devices, (double)waiting / ((long)devices * depthFull));
    }
}
