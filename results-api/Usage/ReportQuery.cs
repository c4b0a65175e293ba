using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Net.Http.Headers;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Usage;

/// <summary>What a report's rows may be summed by.</summary>
/// <param name="Name">As requests and answers call it.</param>
/// <param name="Sql">The text it is sorted and paged by.</param>
internal sealed record ReportKey(string Name, string Sql);

/// <summary>What a row is the sum of: the keys that were asked for, and their values.</summary>
internal sealed class ReportRow(IReadOnlyList<ReportKey> keys, IReadOnlyList<string> values)
{
    private const char Separator = '|';

    /// <summary>The values, joined; <c>total</c> for a report's only row.</summary>
    public string Id => values.Count == 0 ? "total" : string.Join(Separator, values);

    /// <summary>The value of a key; null where it was not asked for.</summary>
    public string? this[string name]
    {
        get
        {
            var at = keys.Select(key => key.Name).ToList().IndexOf(name);
            return at < 0 ? null : values[at];
        }
    }

    /// <summary>The values of an id; null where it is none of such a row.</summary>
    public static string[]? Parse(string id, int keys) =>
        keys > 0 && id.Split(Separator, keys) is { } parts && parts.Length == keys ? parts : null;
}

/// <summary>
/// What the reports have in common: a range of UTC days, a row for every value of the keys that are asked for, pages, and the choice of JSON
/// or CSV.
/// </summary>
internal sealed class ReportQuery
{
    public const int DaysMax = 366;
    public const int DaysDefault = 30;
    private const string Expected = "a UTC day (2026-01-31)";
    private static readonly string[] Formats = ["json", "csv"];

    private readonly ReportKey[] _keys;
    private readonly DateOnly _from;
    private readonly DateOnly _to;
    private readonly int _limit;
    private readonly string[]? _after;
    private readonly bool _csv;

    private ReportQuery(ReportKey[] keys, DateOnly from, DateOnly to, int limit, string[]? after, bool csv) =>
        (_keys, _from, _to, _limit, _after, _csv) = (keys, from, to, limit, after, csv);

    /// <summary>Reads the parameters; what is wrong with them is kept in <paramref name="query"/>.</summary>
    /// <param name="by">The name of the parameter that chooses the keys.</param>
    /// <param name="keys">What may be chosen, in the order rows are sorted in.</param>
    /// <param name="byDefault">What is taken where nothing is chosen.</param>
    public static ReportQuery Read(
        HttpContext http,
        QueryParameters query,
        string by,
        IReadOnlyList<ReportKey> keys,
        string[] byDefault,
        int rowsMax,
        TimeProvider time
    )
    {
        var today = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime);
        var to = query.Value<DateOnly>("to", Expected, Day) ?? today;
        var from =
            query.Value<DateOnly>(
                "from",
                $"{Expected}, not after to ({to.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}) and at most {DaysMax} days before it",
                text => Within(text, to)
            ) ?? (to.DayNumber >= DaysDefault ? to.AddDays(1 - DaysDefault) : DateOnly.MinValue);
        var words = query.Words(by, [.. keys.Select(key => key.Name)]) ?? byDefault;
        var chosen = keys.Where(key => words.Contains(key.Name)).ToArray();
        var limit = query.Whole("limit", 1, rowsMax) ?? rowsMax;
        var after = query.Value<Place>(
            "after",
            chosen.Length == 0 ? $"{by} with it" : $"the id of a row ({string.Join('|', chosen.Select(key => key.Name))})",
            text => ReportRow.Parse(text, chosen.Length) is { } parts ? new Place(parts) : null
        );
        var csv = query.Words("format", Formats) is { } format ? format.Contains("csv") : WantsCsv(http.Request);
        return new ReportQuery(chosen, from, to, limit, after?.Parts, csv);
    }

    /// <summary>
    /// The command for a page of rows: the keys and then <paramref name="sums"/>. Rows sort by their keys as text; the page after a row starts
    /// above it.
    /// </summary>
    /// <param name="from">What is summed, with its conditions: $1 and $2 are the days, both included, and from $4 on <paramref name="values"/>.</param>
    public NpgsqlCommand Select(NpgsqlDataSource database, string sums, string from, params object[] values)
    {
        var keys = string.Join(", ", _keys.Select(key => key.Sql));
        var columns = string.Concat(Enumerable.Range(0, _keys.Length).Select(i => $"{_keys[i].Sql}, "));
        var place = string.Join(", ", (_after ?? []).Select((_, i) => $"${i + values.Length + 4}"));
        var command = database.CreateCommand(
            $"""
            SELECT {columns}{sums}
            FROM {from}{(_after is null ? "" : $" AND ({keys}) > ({place})")}
            {(_keys.Length == 0 ? "" : $"GROUP BY {keys} ORDER BY {keys}")} LIMIT $3
            """
        );
        command.Parameters.Add(new() { Value = _from, NpgsqlDbType = NpgsqlDbType.Date });
        command.Parameters.Add(new() { Value = _to, NpgsqlDbType = NpgsqlDbType.Date });
        command.Parameters.Add(new() { Value = _limit + 1 });
        foreach (var value in values.Concat(_after ?? []))
        {
            command.Parameters.Add(new() { Value = value });
        }

        return command;
    }

    /// <summary>Runs the command and answers with its rows.</summary>
    /// <param name="read">Reads the row the reader stands on; its sums begin at the column that is handed over.</param>
    /// <param name="names">The names of <paramref name="fields"/>, which CSV has behind the keys.</param>
    public async Task<Results<JsonHttpResult<ListView<T>>, ContentHttpResult, ProblemResult>> AnswerAsync<T>(
        HttpContext http,
        NpgsqlCommand command,
        Func<NpgsqlDataReader, int, ReportRow, T> read,
        Func<T, string> idOf,
        IReadOnlyList<string> names,
        Func<T, IReadOnlyList<decimal?>> fields
    )
    {
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        var rows = new List<T>();
        while (await reader.ReadAsync(http.RequestAborted))
        {
            var values = Enumerable.Range(0, _keys.Length).Select(reader.GetString).ToArray();
            rows.Add(read(reader, _keys.Length, new ReportRow(_keys, values)));
        }

        var page = ListView.Of(rows, _limit, idOf);
        if (!_csv)
        {
            return TypedResults.Json(page, ApiJson.Options);
        }

        if (page.HasMore)
        {
            http.Response.Headers["Pipeline-Last-Id"] = Uri.EscapeDataString(page.LastId!);
        }

        var text = new StringBuilder(Csv.Line([.. _keys.Select(key => key.Name), .. names]));
        foreach (var row in page.Data)
        {
            var keys = _keys.Length == 0 ? [] : ReportRow.Parse(idOf(row), _keys.Length)!;
            text.Append(Csv.Line([.. keys, .. fields(row).Select(number => number?.ToString(CultureInfo.InvariantCulture))]));
        }

        return TypedResults.Content(text.ToString(), "text/csv", Encoding.UTF8);
    }

    private static DateOnly? Day(string text) =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null;

    private static DateOnly? Within(string text, DateOnly to) =>
        Day(text) is { } from && from <= to && to.DayNumber - from.DayNumber < DaysMax ? from : null;

    private static bool WantsCsv(HttpRequest request) =>
        request
            .GetTypedHeaders()
            .Accept.OrderByDescending(type => type.Quality ?? 1)
            .FirstOrDefault(type => type.MediaType == "text/csv" || type.MatchesMediaType("application/json"))
            is { } first
        && first.MediaType == "text/csv";

    /// <summary>Where a page ended: the keys of its last row.</summary>
    private readonly record struct Place(string[] Parts);
}
