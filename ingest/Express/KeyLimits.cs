using System.Globalization;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Express;

/// <summary>
/// What one API key may ask of the express path: so many requests a second (a token bucket) and so many at the same time. Every reply tells
/// the limits and what is left of the rate in <c>RateLimit-Policy</c> and <c>RateLimit</c> (draft-ietf-httpapi-ratelimit-headers-10).
/// </summary>
internal sealed class KeyLimits : IAsyncDisposable
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);

    private readonly PartitionedRateLimiter<string> _rate;
    private readonly PartitionedRateLimiter<string> _concurrent;
    private readonly IngestOptions _options;
    private readonly string _policy;

    public KeyLimits(IngestOptions options)
    {
        _options = options;
        // A key that was not seen for a while is forgotten by itself; one timer refills all buckets.
        _rate = PartitionedRateLimiter.Create<string, string>(key =>
            RateLimitPartition.GetTokenBucketLimiter(
                key,
                _ => new TokenBucketRateLimiterOptions
                {
                    TokenLimit = options.KeyBurstMax,
                    TokensPerPeriod = Math.Max(1, (int)(options.KeyRatePerSecond * Step.TotalSeconds)),
                    ReplenishmentPeriod = Period(options.KeyRatePerSecond),
                    QueueLimit = 0,
                }
            )
        );
        _concurrent = PartitionedRateLimiter.Create<string, string>(key =>
            RateLimitPartition.GetConcurrencyLimiter(
                key,
                _ => new ConcurrencyLimiterOptions { PermitLimit = options.KeyConcurrentMax, QueueLimit = 0 }
            )
        );
        _policy = string.Create(
            CultureInfo.InvariantCulture,
            $"\"rate\";q={options.KeyRatePerSecond};w=1, \"concurrent\";q={options.KeyConcurrentMax};qu=\"concurrent-requests\""
        );
    }

    /// <summary>Counts a request; dispose of the lease when it has been answered.</summary>
    /// <param name="key">Whose request it is.</param>
    /// <returns>The lease, or the problem to answer with.</returns>
    public (IDisposable? Lease, ProblemResult? Refused) Enter(string key, HttpResponse response)
    {
        var rate = _rate.AttemptAcquire(key);
        Tell(key, response);
        if (!rate.IsAcquired)
        {
            var after = rate.TryGetMetadata(MetadataName.RetryAfter, out var wait) ? wait : Step;
            rate.Dispose();
            return (null, Refuse($"This key may send {_options.KeyRatePerSecond} requests a second here.", after));
        }

        rate.Dispose();
        var concurrent = _concurrent.AttemptAcquire(key);
        if (concurrent.IsAcquired)
        {
            return (concurrent, null);
        }

        concurrent.Dispose();
        return (null, Refuse($"{_options.KeyConcurrentMax} requests of this key wait for their answers already.", TimeSpan.FromSeconds(1)));
    }

    public async ValueTask DisposeAsync()
    {
        await _rate.DisposeAsync();
        await _concurrent.DisposeAsync();
    }

    /// <summary>Slow rates get a token at a time, fast ones several at once, at most <see cref="Step"/> apart.</summary>
    private static TimeSpan Period(int ratePerSecond) =>
        TimeSpan.FromSeconds(Math.Max(1, (int)(ratePerSecond * Step.TotalSeconds)) / (double)ratePerSecond);

    private void Tell(string key, HttpResponse response)
    {
        var left = _rate.GetStatistics(key)?.CurrentAvailablePermits ?? _options.KeyBurstMax;
        response.Headers["RateLimit-Policy"] = _policy;
        response.Headers["RateLimit"] = string.Create(CultureInfo.InvariantCulture, $"\"rate\";r={left};t=1");
    }

    private static ProblemResult Refuse(string detail, TimeSpan after) =>
        new(Problems.From(FailureKind.RateLimited, $"{detail} Nothing was stored.") with { RetryAfter = after });
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
                var (lease, refused) = limits.Enter(http.Request.Headers.Authorization.ToString(), http.Response);
                using (lease)
                {
                    return refused ?? await next(context);
                }
            }
        );
}
