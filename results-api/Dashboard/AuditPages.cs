using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>The audit: a page to search, and its export.</summary>
internal static class AuditPages
{
    public static void MapAudit(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/audit", ListAsync);
        pages.MapGet("/audit/export", ExportAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, AuditLog audit, DashboardOptions options)
    {
        var rows = await FindAsync(http, audit, options.PageItems + 1);
        var next = rows.Count > options.PageItems ? rows[options.PageItems - 1].Id.ToString() : null;
        return http.Page<AuditPage>(new { Rows = rows.Take(options.PageItems).ToList(), Next = next });
    }

    private static async Task<IResult> ExportAsync(HttpContext http, AuditLog audit, DashboardOptions options)
    {
        var rows = await FindAsync(http, audit, options.ExportRowsMax);
        return Export.Answer(
            http,
            "audit",
            rows,
            ("at", r => r.At),
            ("operator", r => r.Operator),
            ("action", r => r.Action),
            ("subject_kind", r => r.SubjectKind),
            ("subject", r => r.Subject),
            ("reason", r => r.Reason),
            ("done", r => r.Done),
            ("detail", r => r.Detail),
            ("before", r => r.Before),
            ("after", r => r.After),
            ("address", r => r.Address)
        );
    }

    private static Task<List<AuditEntry>> FindAsync(HttpContext http, AuditLog audit, int rows)
    {
        var query = http.Request.Query;
        return audit.ListAsync(
            Text("subject"),
            Text("operator")?.ToLowerInvariant(),
            Text("action"),
            Guid.TryParse(query["after"], out var after) ? after : null,
            rows,
            http.RequestAborted
        );

        string? Text(string name) => query[name].ToString().Trim() is { Length: > 0 } text ? text : null;
    }
}
