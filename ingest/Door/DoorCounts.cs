using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Door;

/// <summary>What a minute's requests of one tenant, class and model are counted under.</summary>
/// <param name="Model"><c>name@version</c>, or <see cref="DoorModels.None"/>.</param>
internal readonly record struct DoorKey(DateTimeOffset Minute, TenantId Tenant, LatencyClass Class, string Model);

/// <summary>How the requests of a minute were answered; <see cref="SlaDoorRow"/> says what each means.</summary>
internal sealed class DoorCount
{
    public long Accepted { get; set; }
    public long Limited { get; set; }
    public long ClientFaults { get; set; }
    public long Failed { get; set; }
    public long[] Disconnects { get; } = new long[SlaSums.BandsUs.Count + 1];

    /// <summary>True while something is not written yet.</summary>
    public bool Changed { get; set; }
}

/// <summary>
/// Counts how requests for work were answered, by minute, tenant, class and model: the availability that reports state. Kept in memory, and
/// written by <see cref="DoorCountsWriter"/>; so outages of PostgreSQL, which refuse everything, are counted too, and written when it is back.
/// </summary>
internal sealed class DoorCounts(IngestOptions options, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<DoorKey, DoorCount> _counts = [];

    /// <summary>Counts an answer.</summary>
    /// <param name="tenant">Null where the key was not read.</param>
    /// <param name="model">As <see cref="DoorModels"/> says.</param>
    /// <param name="status">Of the answer; 499 where the client was gone before it.</param>
    /// <param name="waited">From the request to its answer.</param>
    public void Add(TenantId? tenant, LatencyClass latencyClass, string model, int status, TimeSpan waited)
    {
        if (tenant is null && status < StatusCodes.Status500InternalServerError)
        {
            // Without a valid key: nobody's request.
            return;
        }

        var minute = SlaTables.Floor(SlaGrain.Minute, time.GetUtcNow());
        lock (_lock)
        {
            var count = Of(new DoorKey(minute, tenant ?? default, latencyClass, model));
            count.Changed = true;
            switch (status)
            {
                case StatusCodes.Status499ClientClosedRequest:
                    count.Disconnects[SlaSums.BandOf(waited.Ticks / TimeSpan.TicksPerMicrosecond)]++;
                    break;
                case StatusCodes.Status429TooManyRequests:
                    count.Limited++;
                    break;
                case >= StatusCodes.Status500InternalServerError:
                    count.Failed++;
                    break;
                case >= StatusCodes.Status400BadRequest:
                    count.ClientFaults++;
                    break;
                default:
                    count.Accepted++;
                    break;
            }
        }
    }

    /// <summary>What has changed since it was written last, as it stands now. Ask <see cref="Written"/> once it is committed.</summary>
    public IReadOnlyList<(DoorKey Key, DoorCount Count)> Unwritten()
    {
        lock (_lock)
        {
            return [.. _counts.Where(c => c.Value.Changed).Select(c => (c.Key, Copy(c.Value)))];
        }
    }

    /// <summary>Notes what was written, and forgets the minutes that are over.</summary>
    public void Written(IEnumerable<(DoorKey Key, DoorCount Count)> written)
    {
        var now = SlaTables.Floor(SlaGrain.Minute, time.GetUtcNow());
        lock (_lock)
        {
            foreach (var (key, count) in written)
            {
                if (_counts.TryGetValue(key, out var current) && Same(current, count))
                {
                    current.Changed = false;
                    if (key.Minute < now)
                    {
                        _counts.Remove(key);
                    }
                }
            }
        }
    }

    private DoorCount Of(DoorKey key)
    {
        if (_counts.TryGetValue(key, out var count))
        {
            return count;
        }

        if (_counts.Count >= options.DoorCountsMax)
        {
            // PostgreSQL has been away for long: the oldest minute is given up.
            _counts.Remove(_counts.Keys.MinBy(k => k.Minute));
        }

        return _counts[key] = new DoorCount();
    }

    private static DoorCount Copy(DoorCount count)
    {
        var copy = new DoorCount
        {
            Accepted = count.Accepted,
            Limited = count.Limited,
            ClientFaults = count.ClientFaults,
            Failed = count.Failed,
        };
        count.Disconnects.CopyTo(copy.Disconnects, 0);
        return copy;
    }

    private static bool Same(DoorCount a, DoorCount b) =>
        (a.Accepted, a.Limited, a.ClientFaults, a.Failed) == (b.Accepted, b.Limited, b.ClientFaults, b.Failed)
        && a.Disconnects.AsSpan().SequenceEqual(b.Disconnects);
}

/// <summary>Puts the counting before endpoints that take work.</summary>
internal static class CountedDoor
{
    /// <summary>The answer to a client that is gone: nobody reads it, but it is counted.</summary>
    public static IResult Gone() => Results.StatusCode(StatusCodes.Status499ClientClosedRequest);

    /// <summary>
    /// Answers are counted. It has to come before <c>RequireApiKey</c>: where the keys cannot be read, that is an answer of ours as well.
    /// </summary>
    /// <param name="latencyClass">What the request asks for; null for the query's <c>class</c>.</param>
    public static TBuilder CountAnswers<TBuilder>(this TBuilder endpoints, LatencyClass? latencyClass)
        where TBuilder : IEndpointConventionBuilder =>
        endpoints.AddEndpointFilter(
            (context, next) =>
            {
                var http = context.HttpContext;
                var time = http.RequestServices.GetRequiredService<TimeProvider>();
                var began = time.GetTimestamp();
                http.AsksByAddress();
                http.Response.OnCompleted(() =>
                {
                    var counts = http.RequestServices.GetRequiredService<DoorCounts>();
                    counts.Add(
                        http.FindCaller()?.Tenant,
                        latencyClass ?? ClassOf(http.Request),
                        http.RequestServices.GetRequiredService<DoorModels>().Of(http),
                        http.Response.StatusCode,
                        time.GetElapsedTime(began)
                    );
                    return Task.CompletedTask;
                });
                return next(context);
            }
        );

    private static LatencyClass ClassOf(HttpRequest request) =>
        LatencyClasses.TryParse(request.Query[JobParameters.Class], out var latencyClass) ? latencyClass : LatencyClass.Bulk;
}
