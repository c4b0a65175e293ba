using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>What the requests about recurring work promise, for the API's document.</summary>
internal static class RecurringOperations
{
    private static readonly ResultsApiOptions Lists = new();
    private static readonly ApiParameter Name = ApiParameter.Path("name", ApiType.Text(100), "The work's name.");

    public static readonly ApiOperation List = new(
        "listRecurringWork",
        ApiTags.Operations,
        "Recurring work (operators).",
        "Each with its schedule, its last run and what came of it, when it runs next, and whether it is paused. Beside the works, which one instance "
            + "runs when they are due, the loops of all processes: their last turn, and how many there were."
    )
    {
        Answers = [ApiAnswer.Json<ListView<RecurringView>>("All of it, by name.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation ListRuns = new(
        "listRecurringRuns",
        ApiTags.Operations,
        "The runs of recurring work (operators).",
        "Newest first, page by page. What a process was running when it stopped or died is `interrupted`, and was run again. Of a loop "
            + "there is only the last turn."
    )
    {
        Parameters = [Name, ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "runs"), ApiParameters.After(ApiType.Text())],
        Answers = [ApiAnswer.Json<ListView<RecurringRunView>>("A page.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation Run = Command(
        "runRecurringWork",
        "Run recurring work now (operators).",
        "As soon as an instance can, also while it is paused; never beside another run of the same work. Asked again before it has begun, it runs once. "
            + "Of a loop each process takes a turn at its next time, also while it is paused."
    );

    public static readonly ApiOperation Pause = Command(
        "pauseRecurringWork",
        "Pause recurring work (operators).",
        "It runs only when asked to, until it is resumed. A run under way goes on. A loop heeds it within two seconds; what waits for it waits longer."
    );

    public static readonly ApiOperation Resume = Command(
        "resumeRecurringWork",
        "Resume recurring work (operators).",
        "It runs by its schedule again; at once, if it was due meanwhile."
    );

    private static ApiOperation Command(string id, string summary, string promise) =>
        new(id, ApiTags.Operations, summary, promise)
        {
            Parameters = [Name],
            Answers = [ApiAnswer.Json<RecurringView>("The work as it is now.")],
            Errors = [FailureKind.OperatorOnly, FailureKind.UnknownRoute],
        };
}
