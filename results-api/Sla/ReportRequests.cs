using System.Text;
using Microsoft.Net.Http.Headers;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Sla;

/// <summary><c>/v1/reports</c>: a report of any window, as JSON, CSV or a page; and those that are kept.</summary>
internal static class ReportRequests
{
    private static readonly string[] Formats = ["json", "csv", "html"];

    public static void MapReports(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/reports/sla", GetAsync).Describe(SlaOperations.GetReport);
        v1.MapPost("/reports", KeepAsync).Describe(SlaOperations.KeepReport);
        v1.MapGet("/reports", ListAsync).Describe(SlaOperations.ListReports);
        v1.MapGet("/reports/{id}", FindAsync).Describe(SlaOperations.GetStoredReport);
    }

    private static async Task<IResult> GetAsync(
        HttpContext http,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var form = Form.Read(query, http.Request);
        var (report, refused) = await MakeAsync(query, Own(http), reports, database, options, time, http.RequestAborted);
        return report is null ? refused! : form.Answer(report, report);
    }

    private static async Task<IResult> KeepAsync(
        HttpContext http,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var (report, refused) = await MakeAsync(query, Own(http), reports, database, options, time, http.RequestAborted);
        return report is null
            ? refused!
            : TypedResults.Json(await reports.KeepAsync(report, http.Tenant(), http.RequestAborted), ApiJson.Options);
    }

    private static async Task<IResult> ListAsync(HttpContext http, SlaReports reports, ResultsApiOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<Guid>("after", "the last_id of a page", text => Guid.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var page = await reports.ListAsync(http.Tenant(), after, limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(page, limit, report => report.Id.ToString()), ApiJson.Options);
    }

    private static async Task<IResult> FindAsync(string id, HttpContext http, SlaReports reports)
    {
        var query = new QueryParameters(http.Request.Query);
        var form = Form.Read(query, http.Request);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        return Guid.TryParse(id, out var value) && await reports.FindAsync(http.Tenant(), value, http.RequestAborted) is { } found
            ? form.Answer(found.Report!, found)
            : Problems.Result(FailureKind.UnknownRoute, $"You have no report \"{id}\".", "id");
    }

    /// <summary>Makes the report that a query asks for.</summary>
    /// <param name="own">The tenant that the caller sees; null for operators, who see all, or the one they name.</param>
    public static async Task<(SlaReport? Report, ProblemResult? Refused)> MakeAsync(
        QueryParameters query,
        TenantId? own,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        TimeProvider time,
        CancellationToken stop
    )
    {
        var window = ReportWindow.Read(query, options.WindowDaysMax, mayByTenant: own is null, time.GetUtcNow());
        var name = own is null ? query.Text("tenant") : null;
        if (query.Refusal() is { } refusal)
        {
            return (null, refusal);
        }

        var tenant = own;
        if (name is not null && (tenant = await TenantAsync(database, name, stop)) is null)
        {
            return (
                null,
                Problems.Result(FailureKind.InvalidRequest, $"Parameter \"tenant\": expected a tenant's name, given \"{name}\".", "tenant")
            );
        }

        try
        {
            var report = await reports.TryMakeAsync(window, tenant, stop);
            return report is null
                ? (null, Problems.Result(FailureKind.RateLimited, $"{options.ReportsMax} reports are being made already. Ask again soon."))
                : (report, null);
        }
        catch (SlaRemovedException e)
        {
            return (
                null,
                Problems.Result(
                    FailureKind.InvalidRequest,
                    $"Parameter \"from\": expected, for time so long ago, edges at whole {e.Whole} of window, periods and exclusions. {e.Message}",
                    "from"
                )
            );
        }
    }

    private static TenantId? Own(HttpContext http) => http.Caller() is { IsOperator: false } caller ? caller.Tenant : null;

    private static async Task<TenantId?> TenantAsync(NpgsqlDataSource database, string name, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT id FROM tenants WHERE name = $1");
        command.Parameters.Add(new() { Value = name });
        return await command.ExecuteScalarAsync(stop) is Guid id ? new TenantId(id) : null;
    }

    /// <summary>The form an answer is wanted in.</summary>
    /// <param name="Section">Of CSV: the part of the report.</param>
    public sealed record Form(string Format, string Section)
    {
        public static Form Read(QueryParameters query, HttpRequest request)
        {
            var format = query.Value<Word>(
                "format",
                $"one of {string.Join(", ", Formats)}",
                text => Formats.Contains(text) ? new Word(text) : null
            );
            var section = query.Value<Word>(
                "section",
                $"one of {string.Join(", ", ReportCsv.Sections.Keys)}",
                text => ReportCsv.Sections.ContainsKey(text) ? new Word(text) : null
            );
            return new Form(format?.Text ?? Accepted(request), section?.Text ?? "rows");
        }

        /// <param name="json">What is answered as JSON.</param>
        public IResult Answer(SlaReport report, object json) =>
            Format switch
            {
                "html" => TypedResults.Content(ReportHtml.Render(report), "text/html", Encoding.UTF8),
                "csv" => TypedResults.Content(ReportCsv.Sections[Section](report), "text/csv", Encoding.UTF8),
                _ => TypedResults.Json(json, ApiJson.Options),
            };

        private static string Accepted(HttpRequest request)
        {
            var first = request
                .GetTypedHeaders()
                .Accept.OrderByDescending(type => type.Quality ?? 1)
                .FirstOrDefault(type => type.MediaType.Value is "text/csv" or "text/html" || type.MatchesMediaType("application/json"));
            return first?.MediaType.Value switch
            {
                "text/csv" => "csv",
                "text/html" => "html",
                _ => "json",
            };
        }

        private readonly record struct Word(string Text);
    }
}
