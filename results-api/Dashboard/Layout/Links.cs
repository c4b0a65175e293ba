using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Primitives;

namespace Pipeline.ResultsApi.Dashboard.Layout;

/// <summary>Links that keep the filters of the page they stand on.</summary>
internal static class Links
{
    public static string Job(Guid job) => $"{DashboardServices.Root}/jobs/{job}";

    /// <summary>The same address with some parameters changed; null takes one away.</summary>
    public static string With(string path, string query, params ReadOnlySpan<(string Name, string? Value)> changes)
    {
        var all = QueryHelpers.ParseQuery(query).ToDictionary(p => p.Key, p => (string?)p.Value.ToString());
        foreach (var (name, value) in changes)
        {
            all[name] = value;
        }

        return QueryHelpers.AddQueryString(path, all.Where(p => !string.IsNullOrEmpty(p.Value)));
    }

    /// <summary>The query without what is empty, as a filter form leaves it.</summary>
    public static string Clean(string query) => With("", query).TrimStart('?');

    /// <summary>The same of parameters as they were read; one that is there several times is a list, with commas between.</summary>
    public static Dictionary<string, StringValues> Filled(IEnumerable<KeyValuePair<string, StringValues>> query) =>
        query
            .Where(p => p.Value.Any(value => !string.IsNullOrWhiteSpace(value)))
            .ToDictionary(p => p.Key, p => new StringValues(string.Join(',', p.Value.Select(v => v!.Trim()))));

    /// <summary>What a query has of a parameter; nothing where it has none.</summary>
    public static string Asked(string query, string name) =>
        QueryHelpers.ParseQuery(query).TryGetValue(name, out var value) ? value.ToString() : "";

    /// <summary>The page of what something was done to; null where it has none.</summary>
    public static string? Subject(string kind, string subject) =>
        kind switch
        {
            "job" => Job(Guid.Parse(subject)),
            "bulk_action" => $"{DashboardServices.Root}/bulk/{subject}",
            "alert" => $"{DashboardServices.Root}/alerts/{subject}",
            "alert_rule" => $"{DashboardServices.Root}/alerts/rules/{Uri.EscapeDataString(subject)}",
            "route" => Route(subject),
            "probe" => $"{DashboardServices.Root}/alerts/probes/{Uri.EscapeDataString(subject)}",
            "recurring_work" => $"{DashboardServices.Root}/recurring/{Uri.EscapeDataString(subject)}",
            "model" => Model(subject),
            _ => null,
        };

    /// <param name="name">Without a version.</param>
    public static string Model(string name) => $"{DashboardServices.Root}/models/{Path(name)}";

    public static string Route(string name) => $"{DashboardServices.Root}/routes/{Path(name)}";

    /// <summary>Names may have slashes in them, which stay.</summary>
    private static string Path(string name) => Uri.EscapeDataString(name).Replace("%2F", "/", StringComparison.Ordinal);
}
