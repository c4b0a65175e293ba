using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator;

/// <summary>
/// Stop this dispatch at once; the device time spent on its running batch is lost. Only simulated workers can: it is here for the
/// published policies that need it (Shepherd, NSDI'23; REEF, OSDI'22). Answered by <see cref="DispatchEnded"/>, all handed back.
/// </summary>
internal sealed record Preempt(DispatchId Dispatch, Why Why) : Decision(Why);
