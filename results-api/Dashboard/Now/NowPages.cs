using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Now;

/// <summary>The page Now, and the stream that keeps it current.</summary>
internal static class NowPages
{
    /// <summary>A stream ends after it, and the browser comes back: so who is signed out meanwhile sees no more.</summary>
    private static readonly TimeSpan StreamMax = TimeSpan.FromMinutes(5);

    public static void MapNow(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/now", ShowAsync);
        pages.MapGet("/now/live", FollowAsync);
    }

    private static async Task<IResult> ShowAsync(HttpContext http, NowFeed feed, NowReader reader)
    {
        var range = HistoryRange.All.FirstOrDefault(r => r.Name == http.Request.Query["range"]);
        var history = range is null ? null : await reader.HistoryAsync(range, http.RequestAborted);
        return http.Page<NowPage>(new { Snapshot = await feed.ReadAsync(http.RequestAborted), History = history });
    }

    private static async Task<IResult> FollowAsync(HttpContext http, NowFeed feed, IHostApplicationLifetime life, TimeProvider time)
    {
        using var following = feed.Follow();
        if (following is null)
        {
            return http.Error(
                StatusCodes.Status503ServiceUnavailable,
                "Too many look at this page live",
                "It is shown, and does not move."
            );
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, life.ApplicationStopping);
        using var late = new CancellationTokenSource(StreamMax, time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, late.Token);
        var stream = new EventStream(http.Response);
        try
        {
            await stream.BeginAsync(stop.Token);
            while (true)
            {
                var html = await feed.NextAsync(end.Token);
                await stream.SendAsync("parts", null, JsonSerializer.Serialize(html, ApiJson.Options), stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            return TypedResults.Empty;
        }
    }
}
