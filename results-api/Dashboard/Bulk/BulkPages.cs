using Npgsql;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Bulk;

/// <summary>Bulk actions: what one would do, doing it, and what came of it.</summary>
internal static class BulkPages
{
    private const string Home = $"{DashboardServices.Root}/bulk";

    /// <summary>Parameters of the preview that say what a change is to; <c>class</c> is a filter.</summary>
    public const string ToClass = "to_class";
    public const string ToDeadline = "to_deadline";

    public static void MapBulkActions(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/bulk", ListAsync);
        pages.MapGet("/bulk/preview", PreviewAsync);
        pages.MapPost("/bulk", CreateAsync);
        pages.MapGet("/bulk/{id:guid}", ShowAsync);
        pages.MapGet("/bulk/{id:guid}/export", ExportAsync);
        pages.MapPost("/bulk/{id:guid}/stop", StopAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, BulkActions actions, DashboardOptions options)
    {
        Guid? after = Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var all = await actions.ListAsync(after, options.PageItems + 1, http.RequestAborted);
        return http.Page<BulkListPage>(
            new
            {
                Actions = all.Take(options.PageItems).ToList(),
                Next = all.Count > options.PageItems ? $"{all[options.PageItems - 1].Id}" : null,
            }
        );
    }

    private static async Task<IResult> PreviewAsync(
        HttpContext http,
        NpgsqlDataSource database,
        BulkActions actions,
        BulkEstimates estimates,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var stop = http.RequestAborted;
        var action = http.Request.Query["action"].ToString();
        var search = await JobSearch.ReadAsync(http.Request.Query, database, stop);
        if (!JobActions.All.ContainsKey(action) || search.NotForMany is not null)
        {
            return http.Error(
                StatusCodes.Status400BadRequest,
                "That was not understood",
                search.NotForMany ?? "Choose an action on the page Jobs."
            );
        }

        // What comes after the preview is not acted on.
        var until = search.Filter.CreatedBefore ?? time.GetUtcNow();
        var chosen = search with { Filter = BulkActions.For(action, search.Filter) with { CreatedBefore = until }, After = null };
        var preview = await actions.PreviewAsync(chosen.Filter, action, stop);
        var change = action == JobActions.Change ? JobChangeAsk.Of(http.Request.Query[ToClass], http.Request.Query[ToDeadline]) : null;
        var mistake = change?.FindMistake();
        return http.Page<BulkPreviewPage>(
            new
            {
                Action = action,
                Preview = preview,
                Query = Links.Clean(
                    Links.With(
                        "",
                        http.Request.QueryString.ToString(),
                        ("created_before", Show.Iso(until)),
                        ("after", null),
                        ("action", null),
                        (ToClass, null),
                        (ToDeadline, null)
                    )
                ),
                Change = change,
                Mistake = mistake,
                Estimate = change is not null && mistake is null && preview.Jobs > 0 && options.Ingest is not null
                    ? await estimates.OfAsync(chosen.Filter, change, stop)
                    : null,
                Sample = await chosen.FindAsync(database, options, 5, stop),
            }
        );
    }

    private static async Task<IResult> CreateAsync(
        HttpContext http,
        NpgsqlDataSource database,
        BulkActions actions,
        BulkRunner runner,
        DashboardOptions options
    )
    {
        var stop = http.RequestAborted;
        var form = await http.Request.ReadFormAsync(stop);
        var (action, query, reason) = (form["action"].ToString(), form["query"].ToString(), form["reason"].ToString().Trim());
        var asked = new QueryCollection(Microsoft.AspNetCore.WebUtilities.QueryHelpers.ParseQuery(query));
        var search = await JobSearch.ReadAsync(asked, database, stop);
        var change = action == JobActions.Change ? JobChangeAsk.Read(form) : null;
        var mistake =
            !JobActions.All.ContainsKey(action) ? "There is no such action."
            : options.Ingest is null ? "Dashboard:Ingest is not set, so nothing can be asked of jobs."
            : search.NotForMany
                ?? (search.Filter.CreatedBefore is null ? "Begin with a preview." : null)
                ?? (
                    reason.Length is 0 or > JobPages.ReasonLengthMax ? $"Say why, in at most {JobPages.ReasonLengthMax} characters."
                    : action == JobActions.Change && change is null ? "Choose a class, a deadline or both."
                    : change?.FindMistake() is { } wrong ? wrong
                    : action == "cancel" && form["confirm"] != "cancel" ? "Type \"cancel\" to confirm."
                    : null
                );
        if (mistake is not null)
        {
            var again = Links.With($"{Home}/preview", query, ("action", action), (ToClass, change?.Class), (ToDeadline, change?.Deadline));
            return http.Back(again, good: false, mistake);
        }

        var who = Guard.OperatorOf(http)!;
        var actor = new Actor(who.Id, who.Name, http.Connection.RemoteIpAddress?.ToString(), reason);
        if (await actions.CreateAsync(search.Filter, action, change, query, actor, stop) is not { } id)
        {
            return http.Back($"{DashboardServices.Root}/jobs?{query}", good: false, "No job fits any more.");
        }

        runner.Wake();
        return TypedResults.LocalRedirect($"{Home}/{id}");
    }

    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, BulkActions actions, DashboardOptions options)
    {
        if (await actions.FindAsync(id, http.RequestAborted) is not { } found)
        {
            return Unknown(id, http);
        }

        Guid? after = Guid.TryParse(http.Request.Query["after"], out var job) ? job : null;
        var items = await actions.ItemsAsync(id, Outcome(http), after, options.PageItems + 1, http.RequestAborted);
        return http.Page<BulkPage>(
            new
            {
                Action = found,
                Outcome = Outcome(http),
                Items = items.Take(options.PageItems).ToList(),
                Next = items.Count > options.PageItems ? $"{items[options.PageItems - 1].Job}" : null,
            }
        );
    }

    private static async Task<IResult> ExportAsync(Guid id, HttpContext http, BulkActions actions, DashboardOptions options) =>
        Export.Answer(
            http,
            $"bulk-{id}",
            await actions.ItemsAsync(id, Outcome(http), after: null, options.ExportRowsMax, http.RequestAborted),
            ("job", i => i.Job),
            ("outcome", i => i.Outcome),
            ("detail", i => i.Detail)
        );

    private static string? Outcome(HttpContext http) => http.Request.Query["outcome"].ToString() is { Length: > 0 } word ? word : null;

    private static IResult Unknown(Guid id, HttpContext http) =>
        http.Error(StatusCodes.Status404NotFound, "There is no such bulk action", $"None has the id {id}.");

    private static async Task<IResult> StopAsync(Guid id, HttpContext http, BulkActions actions, BulkRunner runner, AuditLog audit)
    {
        if (await actions.FindAsync(id, http.RequestAborted) is not { } was)
        {
            return Unknown(id, http);
        }

        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        await audit.KeepAsync(
            http,
            new Deed("bulk.stop", "bulk_action", id.ToString())
            {
                Reason = Actors.MaybeReason(form),
                Before = new
                {
                    items = was.Items,
                    done = was.Done,
                    refused = was.Refused,
                },
            },
            async () => DeedOutcome.Done(new { left_out = await actions.StopAsync(id, http.RequestAborted) })
        );
        runner.Wake();
        return http.Back($"{Home}/{id}", good: true, "What was not begun is left out.");
    }
}
