using System.CommandLine;
using Pipeline.Simulator;
using Pipeline.Simulator.Report;

// Lives a day of jobs in seconds, with the policy of production and with those it is compared to: ./pipeline simulate.
var root = new RootCommand("Simulates the fleet: the same policy as production, other policies beside it, faults and real traces.");
foreach (var scenario in Scenarios.All)
{
    root.Add(SimulateCommand.Create(scenario));
}

root.Add(ReportCommand.Create());
root.Add(SimulateCommand.List());
return await root.Parse(args).InvokeAsync();
