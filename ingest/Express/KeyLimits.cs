using System.Collections.Concurrent;
using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Express;

/// <summary>
/// What one API key may ask of the express path: so many requests a second and so many at the same time, by its own limits or the options.
/// Every reply tells the limits and what is left of the rate in <c>RateLimit-Policy</c> and <c>RateLimit</c>
/// (draft-ietf-httpapi-ratelimit-headers-10).
/// </summary>
internal sealed class KeyLimits(NpgsqlDataSource database, IngestOptions options, TimeProvider time) : IDisposable
{
    private const int UsesKept = 10_000;

    private readonly Recent<IReadOnlyDictionary<Guid, ApiKeyLimits>> _own = new(stop => ApiKeyLimits.ReadAllAsync(database, stop), time);
    private readonly ConcurrentDictionary<Guid, KeyUse> _uses = new();
    private readonly long _start = time.GetTimestamp();
    private int _tidyAt = UsesKept;

    /// <summary>Counts a request; dispose of the lease when it has been answered.</summary>
    /// <param name="key">The id of the key whose request it is.</param>
    /// <returns>The lease, or the problem to answer with.</returns>
    public async ValueTask<(IDisposable? Lease, ProblemResult? Refused)> EnterAsync(Guid key, HttpResponse response, CancellationToken stop)
    {
        var limit = KeyLimit.Of((await _own.GetAsync(stop)).GetValueOrDefault(key), options);
        var (use, now) = (_uses.GetOrAdd(key, static _ => new KeyUse()), time.GetElapsedTime(_start));
        var entry = use.Enter(limit, now);
        Tidy(now);
        Tell(limit, entry, response);
        return entry.Verdict switch
        {
            KeyVerdict.Entered => (new Lease(use), null),
            KeyVerdict.TooOften => (null, Refuse($"This key may send {limit.RatePerSecond} requests a second here.", entry.After)),
            _ => (null, Refuse($"{limit.ConcurrentMax} requests of this key wait for their answers already.", entry.After)),
        };
    }

    /// <summary>The next request reads them anew: those of a key were set here.</summary>
    public void Forget() => _own.Forget();

    public void Dispose() => _own.Dispose();

    /// <summary>Forgets keys that were not seen for a while, now and then; there are never more than keys that are valid.</summary>
    private void Tidy(TimeSpan now)
    {
        if (_uses.Count < Volatile.Read(ref _tidyAt))
        {
            return;
        }

        foreach (var (key, _) in _uses.Where(u => u.Value.IsLikeNew(now)))
        {
            _uses.TryRemove(key, out _);
        }

        Volatile.Write(ref _tidyAt, Math.Max(UsesKept, 2 * _uses.Count));
    }

    private static void Tell(KeyLimit limit, KeyEntry entry, HttpResponse response)
    {
        response.Headers["RateLimit-Policy"] = string.Create(
            CultureInfo.InvariantCulture,
            $"\"rate\";q={limit.RatePerSecond};w=1, \"concurrent\";q={limit.ConcurrentMax};qu=\"concurrent-requests\""
        );
        response.Headers["RateLimit"] = string.Create(CultureInfo.InvariantCulture, $"\"rate\";r={entry.Left};t=1");
    }

    private static ProblemResult Refuse(string detail, TimeSpan after) =>
        new(Problems.From(FailureKind.RateLimited, $"{detail} Nothing was stored.") with { RetryAfter = after });

    private sealed class Lease(KeyUse use) : IDisposable
    {
        public void Dispose() => use.Leave();
    }
}

/// <summary>Puts <see cref="KeyLimits"/> before endpoints.</summary>
internal static class KeyLimiting
{
    /// <summary>Requests count against the limits of their API key; the endpoints must require one.</summary>
    public static TBuilder LimitByKey<TBuilder>(this TBuilder endpoints)
        where TBuilder : IEndpointConventionBuilder =>
        endpoints.AddEndpointFilter(
            static async (context, next) =>
            {
                var http = context.HttpContext;
                var limits = http.RequestServices.GetRequiredService<KeyLimits>();
                var (lease, refused) = await limits.EnterAsync(http.Caller().Key, http.Response, http.RequestAborted);
                using (lease)
                {
                    return refused ?? await next(context);
                }
            }
        );
}
