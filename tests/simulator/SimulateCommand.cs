using System.CommandLine;
using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>Lives one scenario under one policy, or several, and prints what came of it.</summary>
internal static class SimulateCommand
{
    public static Command Create(Scenario scenario)
    {
        var policy = Option("--policy", "Policy; several with commas, or all", Policies.Ours);
        var seed = Option("--seed", "Seed of all chance", 1UL);
        var tasks = Option("--tasks", "Express tasks, in day all tasks (0: the scenario's own number)", 0L);
        var rho = Option("--rho", "Express load over the analytic ceiling (0: the scenario's own)", 0.0);
        var bulkRho = Option("--bulk-rho", "Bulk load over what express leaves (0: the scenario's own)", 0.0);
        var cv = Option("--cv", "Coefficient of variation of gaps (1: Poisson)", 1.0);
        var profile = Option<string?>("--profile", "Device profile, see list", null);
        var trace = Option<string?>("--trace", "File of ../shared/data/traces", null);
        var workers = Option("--workers", "Devices (0: the scenario's own number)", 0);
        var target = Option("--target-ms", "Express target in milliseconds (0: the scenario's own)", 0.0);
        var jitter = Option("--jitter", "Deviation of a batch's time", 0.01);
        var error = Option("--error", "Factor by which the profile told to the policy is wrong", 1.0);
        var tenants = Option("--tenants", "Express tenants, taking turns", 1);
        var search = Option("--search", "Search the largest load that keeps 99 %", false);
        var command = new Command(scenario.Name, scenario.About)
        {
            policy,
            seed,
            tasks,
            rho,
            bulkRho,
            cv,
            profile,
            trace,
            workers,
            target,
            jitter,
            error,
            tenants,
            search,
        };
        command.SetAction(parsed =>
        {
            var parameters = new Parameters
            {
                Seed = parsed.GetValue(seed),
                Tasks = parsed.GetValue(tasks),
                Rho = parsed.GetValue(rho),
                BulkRho = parsed.GetValue(bulkRho),
                Cv = parsed.GetValue(cv),
                Profile = parsed.GetValue(profile),
                Trace = parsed.GetValue(trace),
                Workers = parsed.GetValue(workers),
                TargetMs = parsed.GetValue(target),
                Jitter = parsed.GetValue(jitter),
                ProfileError = parsed.GetValue(error),
                Tenants = parsed.GetValue(tenants),
                TimePolicy = true,
                Progress = true,
            };
            return Run(scenario, parsed.GetValue(policy)!, parameters, parsed.GetValue(search));
        });
        return command;
    }

    public static Command List()
    {
        var command = new Command("list", "Names the scenarios, the policies and the device profiles.");
        command.SetAction(_ =>
        {
            Console.WriteLine("Scenarios");
            Scenarios.All.ToList().ForEach(s => Console.WriteLine($"  {s.Name, -28} {s.About}"));
            Console.WriteLine("Policies");
            Policies.All.ToList().ForEach(p => Console.WriteLine($"  {p.Name, -28} {p.About}"));
            Console.WriteLine("Device profiles");
            foreach (var (device, source) in Profiles.All)
            {
                Line($"  {device.Name, -28} {device.AlphaNs / 1e6, 7:0.000} ms + {device.BetaNs / 1e6:0.0000} ms a row   {source}");
            }
        });
        return command;
    }

    private static int Run(Scenario scenario, string policies, Parameters parameters, bool search)
    {
        try
        {
            foreach (var policy in policies == "all" ? Policies.All : [.. policies.Split(',').Select(Policies.Find)])
            {
                if (search)
                {
                    var kept = Search.MaxRho(scenario, policy, parameters with { Progress = false, TimePolicy = false });
                    Line($"{policy.Name}: keeps 99 % up to {kept:0.000} of the ceiling (seed {parameters.Seed})");
                }
                else
                {
                    Print(scenario.Run(policy, parameters));
                }
            }

            return 0;
        }
        catch (Exception e) when (e is ArgumentException or PromiseBrokenException)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static void Print(SimResult result)
    {
        Line(
            $"{result.Policy}, seed {result.Seed}: {result.TasksSubmitted:N0} tasks, {result.TasksEnded:N0} ended, {result.Seconds:0.0} s measured"
        );
        foreach (var latencyClass in Enum.GetValues<LatencyClass>())
        {
            Print(latencyClass, result.Of(latencyClass));
        }

        foreach (var pool in result.Pools)
        {
            Line(
                $"  pool {pool.Name}: {pool.Workers} workers, busy {pool.BusySeconds:0.0} s, wasted {pool.WastedSeconds:0.0} s, {pool.Batches:N0} batches of {(double)pool.Tasks / Math.Max(1, pool.Batches):0.0}, {pool.CostUsd:0.0000} USD"
            );
        }

        var bulk =
            result.BulkUnitsPerSecondMax > 0
                ? FormattableString.Invariant($", bulk keeps {100 * result.BulkRetained:0.0} % of what is left to it")
                : "";
        Line(
            $"  goodput {result.Goodput:0.0}/s, utilisation {100 * result.Utilisation:0.0} %, {1e6 * result.CostPerTaskUsd:0.000} USD a million tasks{bulk}"
        );
        Line(
            $"  {result.Events:N0} events, {result.Plans:N0} plans, {result.Decisions:N0} decisions, trace {result.TraceHash:x16}; {result.WallSeconds:0.00} s of real time, {result.PolicySeconds:0.00} s of it in the policy"
        );
    }

    private static void Print(LatencyClass latencyClass, ClassMeasures counts)
    {
        if (counts.Submitted > 0)
        {
            Line(
                $"  {latencyClass.Name(), -8} {counts.Submitted, 11:N0} tasks, attained {100 * counts.Attainment, 7:0.000} %, late {counts.Late:N0}, dropped {counts.Dropped:N0}, starved {counts.Starved:N0}; wait mean {Time(counts.Wait.Mean)}, p50 {Time(counts.Wait.Quantile(0.5))}, p99 {Time(counts.Wait.Quantile(0.99))}, max {Time(counts.Wait.Max)}"
            );
        }
    }

    private static string Time(double ticks) =>
        ticks < 10 * TimeSpan.TicksPerSecond
            ? FormattableString.Invariant($"{ticks / TimeSpan.TicksPerMillisecond:0.00} ms")
            : FormattableString.Invariant($"{ticks / TimeSpan.TicksPerSecond:0.0} s");

    private static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    private static Option<T> Option<T>(string name, string about, T own) =>
        new(name) { Description = about, DefaultValueFactory = _ => own };
}
