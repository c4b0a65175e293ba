using System.CommandLine;
using Pipeline.Hosting;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Standalone.OpenApi;

// The `pipeline` tool: the whole system in one process, and the client commands.
var connection = new Connection();
var root = new RootCommand("Pipeline: AI inference as asynchronous work. One fleet serves cheap bulk and fast express.")
{
    DemoCommand.Create(),
    UpCommand.Create(),
    DownCommand.Create(),
    StatusCommand.Create(connection),
    SubmitCommand.Create(connection),
    WatchCommand.Create(connection),
    ResultsCommand.Create(connection),
    JobsCommand.Create(connection),
    JobsCommand.CreateVerb(connection, "cancel", "cancel", "Cancel a job. What has ended stays; the rest ends cancelled."),
    JobsCommand.CreateVerb(connection, "pause", "pause", "Hold a job back. What is on a device finishes."),
    JobsCommand.CreateVerb(connection, "resume", "resume", "Let a paused job go on."),
    JobsCommand.CreateChange(connection),
    JobsCommand.CreateVerb(connection, "retry", "retry-failed", "Make a new job of a job's failed tasks."),
    ModelsCommand.Create(connection),
    KeysCommand.Create(connection),
    RoutesCommand.Create(connection),
    WebhooksCommand.Create(connection),
    AlertsCommand.Create(connection),
    ProbesCommand.Create(connection),
    UsageCommand.Create(),
    HoldsCommand.Create(connection),
    PricesCommand.Create(connection),
    BudgetsCommand.Create(connection),
    RecurringCommand.Create(connection),
    EraseCommand.Create(connection),
    ReportCommand.Create(connection),
    ReplayCommand.Create(),
    OpenApiCommand.Create(),
};
return await CommandRun.InvokeAsync(root, args);
