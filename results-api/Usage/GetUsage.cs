using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Net.Http.Headers;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Usage;

/// <summary><c>GET /v1/usage</c>: what a tenant's tasks came to, by day, class and model, page by page, as JSON or CSV.</summary>
internal static class GetUsage
{
    private const int DaysMax = 366;
    private const int DaysDefault = 30;
    private const char Separator = '|';

    /// <summary>What may be grouped by, in the order rows are sorted in; a model's name comes last, since it may hold anything.</summary>
    private static readonly string[] Groups = ["day", "class", "model"];
    private static readonly string[] Formats = ["json", "csv"];

    public static void MapUsage(this IEndpointRouteBuilder v1) => v1.MapGet("/usage", Handle).Describe(ReadOperations.GetUsage);

    private static async Task<Results<JsonHttpResult<ListView<UsageView>>, ContentHttpResult, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var today = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime);
        var to = query.Value<DateOnly>("to", Expected, Day) ?? today;
        var from =
            query.Value<DateOnly>(
                "from",
                $"{Expected}, not after to ({Text(to)}) and at most {DaysMax} days before it",
                text => Within(text, to)
            ) ?? (to.DayNumber >= DaysDefault ? to.AddDays(1 - DaysDefault) : DateOnly.MinValue);
        var groups = Groups.Intersect(query.Words("group_by", Groups) ?? []).ToArray();
        var limit = query.Whole("limit", 1, options.UsageRowsMax) ?? options.UsageRowsMax;
        var after = query.Value<Place>(
            "after",
            groups.Length == 0 ? "group_by with it" : $"the id of a row ({string.Join(Separator, groups)})",
            text => Place.Parse(text, groups.Length)
        );
        var csv = query.Words("format", Formats) is { } format ? format.Contains("csv") : WantsCsv(http.Request);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = Select(database, http.Tenant(), from, to, groups, after?.Parts, limit + 1);
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        var rows = new List<UsageView>();
        while (await reader.ReadAsync(http.RequestAborted))
        {
            rows.Add(UsageView.Read(reader, groups));
        }

        var page = ListView.Of(rows, limit, row => row.Id);
        if (!csv)
        {
            return TypedResults.Json(page, ApiJson.Options);
        }

        if (page.HasMore)
        {
            http.Response.Headers["Pipeline-Last-Id"] = Uri.EscapeDataString(page.LastId!);
        }

        return TypedResults.Content(UsageView.Csv(page.Data, groups), "text/csv", Encoding.UTF8);
    }

    private const string Expected = "a UTC day (2026-01-31)";

    private static DateOnly? Day(string text) =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null;

    private static DateOnly? Within(string text, DateOnly to) =>
        Day(text) is { } from && from <= to && to.DayNumber - from.DayNumber < DaysMax ? from : null;

    private static string Text(DateOnly day) => day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    private static bool WantsCsv(HttpRequest request) =>
        request
            .GetTypedHeaders()
            .Accept.OrderByDescending(type => type.Quality ?? 1)
            .FirstOrDefault(type => type.MediaType == "text/csv" || type.MatchesMediaType("application/json"))
            is { } first
        && first.MediaType == "text/csv";

    /// <summary>Rows sort by their groups as text; the page after a row starts above it.</summary>
    private static NpgsqlCommand Select(
        NpgsqlDataSource database,
        TenantId tenant,
        DateOnly from,
        DateOnly to,
        string[] groups,
        string[]? after,
        int rows
    )
    {
        var keys = groups.Select(group => group == "day" ? "to_char(day, 'YYYY-MM-DD')" : $"{group} COLLATE \"C\"").ToArray();
        var columns = Groups.Select(group =>
            groups.Contains(group) ? $"{keys[Array.IndexOf(groups, group)]} AS key_{group}" : $"NULL AS key_{group}"
        );
        var place = after is null ? "" : $"AND ({string.Join(", ", keys)}) > ({string.Join(", ", after.Select((_, i) => $"${i + 5}"))})";
        var grouping = groups.Length == 0 ? "" : $"GROUP BY {string.Join(", ", keys)} ORDER BY {string.Join(", ", keys)}";
        var command = database.CreateCommand(
            $"""
            SELECT {string.Join(", ", columns)}, coalesce(sum(succeeded), 0)::bigint, coalesce(sum(failed), 0)::bigint,
                   coalesce(sum(expired), 0)::bigint, coalesce(sum(cancelled), 0)::bigint, coalesce(sum(units), 0), coalesce(sum(turns), 0),
                   coalesce(sum(device_ns), 0), coalesce(sum(cost_pico), 0), coalesce(sum(reused_job), 0)::bigint,
                   coalesce(sum(reused_cache), 0)::bigint, coalesce(sum(saved_pico), 0)
            FROM usage_days WHERE tenant = $1 AND day BETWEEN $2 AND $3 {place}
            {grouping} LIMIT $4
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = from, NpgsqlDbType = NpgsqlDbType.Date });
        command.Parameters.Add(new() { Value = to, NpgsqlDbType = NpgsqlDbType.Date });
        command.Parameters.Add(new() { Value = rows });
        foreach (var part in after ?? [])
        {
            command.Parameters.Add(new() { Value = part });
        }

        return command;
    }

    /// <summary>Where a page ended: the groups of its last row.</summary>
    private readonly record struct Place(string[] Parts)
    {
        public static Place? Parse(string text, int groups) =>
            groups > 0 && text.Split(Separator, groups) is { } parts && parts.Length == groups ? new Place(parts) : null;
    }

    /// <summary>A row's id: its groups.</summary>
    public static string IdOf(params IEnumerable<string?> groups) => string.Join(Separator, groups.Where(group => group is not null));
}

/// <summary>What the tasks of a group came to. Groups that were not asked for are null.</summary>
internal sealed record UsageView
{
    public required string Id { get; init; }
    public string Object { get; } = "usage";

    /// <summary>The UTC day on which the tasks finished.</summary>
    public required string? Day { get; init; }
    public required string? Class { get; init; }
    public required string? Model { get; init; }
    public required long Succeeded { get; init; }
    public required long Failed { get; init; }
    public required long Expired { get; init; }
    public required long Cancelled { get; init; }
    public required decimal Units { get; init; }
    public required decimal Turns { get; init; }
    public required decimal DeviceNs { get; init; }
    public required decimal CostPicoUsd { get; init; }

    /// <summary>Of the succeeded: results made for another task of the same job, and taken from the tenant's cache.</summary>
    public required long ReusedJob { get; init; }
    public required long ReusedCache { get; init; }

    /// <summary>What those had cost when they were made.</summary>
    public required decimal SavedPicoUsd { get; init; }

    public static UsageView Read(NpgsqlDataReader row, string[] groups)
    {
        var (day, latencyClass, model) = (Group(0), Group(1), Group(2));
        return new()
        {
            Id = groups.Length == 0 ? "total" : GetUsage.IdOf(day, latencyClass, model),
            Day = day,
            Class = latencyClass,
            Model = model,
            Succeeded = row.GetInt64(3),
            Failed = row.GetInt64(4),
            Expired = row.GetInt64(5),
            Cancelled = row.GetInt64(6),
            Units = row.GetDecimal(7),
            Turns = row.GetDecimal(8),
            DeviceNs = row.GetDecimal(9),
            CostPicoUsd = row.GetDecimal(10),
            ReusedJob = row.GetInt64(11),
            ReusedCache = row.GetInt64(12),
            SavedPicoUsd = row.GetDecimal(13),
        };

        string? Group(int column) => row.IsDBNull(column) ? null : row.GetString(column);
    }

    /// <summary>The rows as CSV with a line of names; only the groups that were asked for.</summary>
    public static string Csv(IReadOnlyList<UsageView> rows, string[] groups)
    {
        var text = new StringBuilder(
            Usage.Csv.Line([
                .. groups,
                "succeeded",
                "failed",
                "expired",
                "cancelled",
                "units",
                "turns",
                "device_ns",
                "cost_pico_usd",
                "reused_job",
                "reused_cache",
                "saved_pico_usd",
            ])
        );
        foreach (var row in rows)
        {
            text.Append(
                Usage.Csv.Line([
                    .. ((string?[])[row.Day, row.Class, row.Model]).Where(group => group is not null),
                    .. (
                        (decimal[])
                            [
                                row.Succeeded,
                                row.Failed,
                                row.Expired,
                                row.Cancelled,
                                row.Units,
                                row.Turns,
                                row.DeviceNs,
                                row.CostPicoUsd,
                                row.ReusedJob,
                                row.ReusedCache,
                                row.SavedPicoUsd,
                            ]
                    ).Select(number => number.ToString(CultureInfo.InvariantCulture)),
                ])
            );
        }

        return text.ToString();
    }
}
