using System.CommandLine;
using Pipeline.Bench;
using Pipeline.Bench.Peers;
using Xunit.Sdk;

// Benchmarks that anyone can run: ./pipeline bench. The last line of each is one JSON object.
var root = new RootCommand("Measures the pipeline on this machine, side by side with peers and with the bare model.")
{
    BulkBench.Create(),
    SmallJobsBench.Create(),
    LimitBench.Create(),
    ExpressBench.Create(),
    StreamsBench.Create(),
    LedgerBench.Create(),
    FidelityBench.Create(),
    SchedulerBench.Create(),
    DuplicatesBench.Create(),
    WebhooksBench.Create(),
    ReportBench.Create(),
    DashboardBench.Create(),
    PeerCommand.Create(),
};
root.SetAction(
    async (_, stop) =>
        await BulkBench.RunAsync(new(), stop)
        + await SmallJobsBench.RunAsync(new(), stop)
        + await LimitBench.RunAsync(new(), stop)
        + await ExpressBench.RunAsync(new(), stop)
        + await StreamsBench.RunAsync(new(), stop)
        + await LedgerBench.RunAsync(new(), stop)
        + SchedulerBench.Run(new())
        + await FidelityBench.RunAsync(new(), stop)
        + await DuplicatesBench.RunAsync(new(), stop)
        + await WebhooksBench.RunAsync(new(), stop)
        + await ReportBench.RunAsync(new(), stop)
        + await DashboardBench.RunAsync(new(), stop)
);
try
{
    return await root.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (SkipException e)
{
    // The servers are those of the tests, which skip where one cannot be started.
    Figures.Say(e.Message.Replace("$XunitDynamicSkip$", "", StringComparison.Ordinal));
    return 1;
}
catch (OperationCanceledException)
{
    return 130;
}
