using System.CommandLine;
using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>Lives one scenario under one policy, or several, and prints what came of it.</summary>
internal static class SimulateCommand
{
    public static Command Create(Scenario scenario)
    {
        var policy = new Option<string>("--policy")
        {
            Description = "Policy, several with commas, or all",
            DefaultValueFactory = _ => Policies.Ours,
        };
        var seed = new Option<ulong>("--seed") { Description = "Seed of all chance", DefaultValueFactory = _ => 1UL };
        var tasks = new Option<long>("--tasks") { Description = "Tasks to submit (0: the scenario's own number)" };
        var rho = new Option<double>("--rho") { Description = "Load over the analytic ceiling", DefaultValueFactory = _ => 0.8 };
        var cv = new Option<double>("--cv") { Description = "Coefficient of variation of gaps (1: Poisson)", DefaultValueFactory = _ => 1 };
        var profile = new Option<string>("--profile") { Description = "Device profile", DefaultValueFactory = _ => "bert-base-s128-a100" };
        var workers = new Option<int>("--workers") { Description = "Devices (0: the scenario's own number)" };
        var target = new Option<double>("--target-ms") { Description = "Express target in ms (0: the scenario's own)" };
        var jitter = new Option<double>("--jitter") { Description = "Deviation of a batch's time", DefaultValueFactory = _ => 0.01 };
        var error = new Option<double>("--error")
        {
            Description = "Factor by which the told profile is wrong",
            DefaultValueFactory = _ => 1,
        };
        var search = new Option<bool>("--search") { Description = "Search the largest load that keeps 99 %" };
        var command = new Command(scenario.Name, scenario.About)
        {
            policy,
            seed,
            tasks,
            rho,
            cv,
            profile,
            workers,
            target,
            jitter,
            error,
            search,
        };
        command.SetAction(parsed =>
        {
            var parameters = new Parameters
            {
                Seed = parsed.GetValue(seed),
                Tasks = parsed.GetValue(tasks),
                Rho = parsed.GetValue(rho),
                Cv = parsed.GetValue(cv),
                Profile = parsed.GetValue(profile)!,
                Workers = parsed.GetValue(workers),
                TargetMs = parsed.GetValue(target),
                Jitter = parsed.GetValue(jitter),
                ProfileError = parsed.GetValue(error),
            };
            var named = parsed.GetValue(policy)!;
            foreach (var name in named == "all" ? Policies.All.Select(p => p.Name) : named.Split(','))
            {
                if (parsed.GetValue(search))
                {
                    var kept = Search.MaxRho(scenario.Name, name, parameters);
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: keeps 99 % up to {kept:0.000} of the ceiling"));
                }
                else
                {
                    Print(scenario.Run(name, parameters));
                }
            }
        });
        return command;
    }

    private static void Print(SimResult result)
    {
        Line(
            $"{result.Policy}, seed {result.Seed}: {result.TasksSubmitted:N0} tasks, {result.TasksEnded:N0} ended, {result.Seconds:0.0} s measured"
        );
        foreach (var latencyClass in Enum.GetValues<LatencyClass>())
        {
            var counts = result.Of(latencyClass);
            if (counts.Submitted > 0)
            {
                Line(
                    $"  {latencyClass.Name(), -8} {counts.Submitted, 11:N0} tasks  attained {100 * counts.Attainment, 8:0.000} %  late {counts.Late:N0}  dropped {counts.Dropped:N0}  wait mean {Ms(counts.Wait.Mean)} p50 {Ms(counts.Wait.Quantile(0.5))} p99 {Ms(counts.Wait.Quantile(0.99))} max {Ms(counts.Wait.Max)}"
                );
            }
        }

        foreach (var pool in result.Pools)
        {
            Line(
                $"  pool {pool.Name}: {pool.Workers} workers, busy {pool.BusySeconds:0.0} s, wasted {pool.WastedSeconds:0.0} s, {pool.Batches:N0} batches of {(double)pool.Tasks / Math.Max(1, pool.Batches):0.0}, {pool.CostUsd:0.0000} USD"
            );
        }

        Line(
            $"  goodput {result.Goodput:0.0}/s, utilisation {100 * result.Utilisation:0.0} %, {1e6 * result.CostPerTaskUsd:0.000} USD per million tasks"
        );
        Line(
            $"  {result.Events:N0} events, {result.Plans:N0} plans, {result.Decisions:N0} decisions, trace {result.TraceHash:x16}, {result.WallSeconds:0.00} s of wall time"
        );
    }

    private static string Ms(double ticks) =>
        string.Create(CultureInfo.InvariantCulture, $"{ticks / TimeSpan.TicksPerMillisecond:0.00} ms");

    private static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
