using Pipeline.Ingest;
using Pipeline.Ingest.Express;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class KeyUseTests
{
    private static readonly KeyLimit Two = new(RatePerSecond: 2, BurstMax: 3, ConcurrentMax: 100);
    private readonly KeyUse _use = new();

    [Fact]
    public void After_a_pause_a_key_may_send_its_burst_and_then_its_rate()
    {
        Assert.Equal([2, 1, 0], Enumerable.Range(0, 3).Select(_ => _use.Enter(Two, At(0)).Left));
        Assert.Equal(new KeyEntry(KeyVerdict.TooOften, 0, TimeSpan.FromMilliseconds(500)), _use.Enter(Two, At(0)));

        Assert.Equal(KeyVerdict.TooOften, _use.Enter(Two, At(0.4)).Verdict);
        Assert.Equal(KeyVerdict.Entered, _use.Enter(Two, At(0.5)).Verdict);
        Assert.Equal(KeyVerdict.TooOften, _use.Enter(Two, At(0.6)).Verdict);

        // A pause fills up to the burst and no further.
        Assert.Equal(2, _use.Enter(Two, At(1000)).Left);
    }

    [Theory]
    [InlineData(null, null, 2000)]
    [InlineData(5, null, 10)]
    [InlineData(5, 3, 3)]
    [InlineData(1_000_000, null, 1_000_000)]
    public void A_rate_of_a_keys_own_has_a_burst_of_as_many_seconds_as_the_options(int? rate, int? burst, int expected) =>
        Assert.Equal(expected, KeyLimit.Of(new ApiKeyLimits(rate, burst, null), new IngestOptions()).BurstMax);

    [Fact]
    public void A_burst_smaller_than_what_a_moment_brings_leaves_the_rate_as_it_is()
    {
        var limit = new KeyLimit(RatePerSecond: 1000, BurstMax: 1, ConcurrentMax: 100_000);

        Assert.All(Enumerable.Range(0, 1000), ms => Assert.Equal(KeyVerdict.Entered, _use.Enter(limit, At(ms / 1000.0)).Verdict));
    }

    [Fact]
    public void Only_so_many_are_under_way_at_the_same_time()
    {
        var limit = new KeyLimit(RatePerSecond: 100, BurstMax: 100, ConcurrentMax: 2);
        _use.Enter(limit, At(0));
        _use.Enter(limit, At(0));

        var third = _use.Enter(limit, At(0));
        _use.Leave();

        Assert.Equal(new KeyEntry(KeyVerdict.TooManyAtOnce, 97, TimeSpan.FromSeconds(1)), third);
        Assert.Equal(KeyVerdict.Entered, _use.Enter(limit, At(0)).Verdict);
    }

    [Fact]
    public void Other_limits_hold_from_the_next_request_on_and_what_is_under_way_stays_counted()
    {
        _use.Enter(new(RatePerSecond: 100, BurstMax: 100, ConcurrentMax: 100), At(0));

        Assert.Equal(KeyVerdict.TooManyAtOnce, _use.Enter(new(RatePerSecond: 1, BurstMax: 2, ConcurrentMax: 1), At(0)).Verdict);
        Assert.Equal(0, _use.Enter(new(RatePerSecond: 1, BurstMax: 2, ConcurrentMax: 2), At(0)).Left);
        Assert.Equal(
            new KeyEntry(KeyVerdict.TooOften, 0, TimeSpan.FromSeconds(1)),
            _use.Enter(new(RatePerSecond: 1, BurstMax: 100, ConcurrentMax: 100), At(0))
        );
    }

    [Fact]
    public void A_key_is_like_new_once_its_bucket_is_full_and_nothing_is_under_way()
    {
        _use.Enter(Two, At(0));
        Assert.False(_use.IsLikeNew(At(0.5)));
        _use.Leave();

        Assert.False(_use.IsLikeNew(At(0.4)));
        Assert.True(_use.IsLikeNew(At(0.5)));
    }

    [Fact]
    public void What_a_key_has_none_of_its_own_is_as_the_options_say()
    {
        var options = new IngestOptions
        {
            KeyRatePerSecond = 7,
            KeyBurstMax = 8,
            KeyConcurrentMax = 9,
        };

        Assert.Equal(new KeyLimit(7, 8, 9), KeyLimit.Of(null, options));
        Assert.Equal(new KeyLimit(7, 1, 9), KeyLimit.Of(new ApiKeyLimits(null, 1, null), options));
        Assert.Equal(new KeyLimit(1, 2, 3), KeyLimit.Of(new ApiKeyLimits(1, 2, 3), options));
    }

    private static TimeSpan At(double seconds) => TimeSpan.FromSeconds(seconds);
}
