using Microsoft.AspNetCore.WebUtilities;

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
}
