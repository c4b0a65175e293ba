using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public sealed class WriteModelTests
{
    private const double Ms = 1e6;
    private readonly WriteModel _writes = new();

    [Fact]
    public void Learns_the_time_of_a_row_where_rows_are_what_is_waited_for()
    {
        for (var i = 0; i < 50; i++)
        {
            _writes.Observe(rows: 10_000, deviceNs: 10 * Ms, tookNs: 400 * Ms);
        }

        Assert.Equal(40_000, _writes.RowNs, 100.0);
        Assert.Equal(400 * Ms, _writes.Ns(10 * Ms, 10_000), Ms);
        Assert.InRange(_writes.Band, 0, 0.05);
    }

    [Fact]
    public void A_busy_device_tells_only_that_rows_take_no_longer()
    {
        var first = _writes.RowNs;
        _writes.Observe(rows: 1_000, deviceNs: 1_000 * Ms, tookNs: 1_010 * Ms);
        Assert.Equal(first, _writes.RowNs);

        for (var i = 0; i < 50; i++)
        {
            _writes.Observe(rows: 100_000, deviceNs: 490 * Ms, tookNs: 500 * Ms);
        }

        Assert.Equal(5_000, _writes.RowNs, 100.0);
    }

    [Theory]
    [InlineData(10, 1, 100)]
    [InlineData(1000, -1, 100)]
    [InlineData(1000, 1, 0)]
    [InlineData(1000, 1, -5)]
    [InlineData(1000, 1, double.NaN)]
    [InlineData(1000, 1, 1000)]
    public void What_cannot_tell_of_rows_changes_nothing(long rows, double deviceMs, double tookMs)
    {
        var first = _writes.RowNs;
        _writes.Observe(rows, deviceMs * Ms, tookMs * Ms);
        Assert.Equal(first, _writes.RowNs);
    }

    [Fact]
    public void The_band_holds_what_scatters()
    {
        for (var i = 0; i < 200; i++)
        {
            _writes.Observe(rows: 10_000, deviceNs: 0, tookNs: (i % 2 == 0 ? 300 : 500) * Ms);
        }

        Assert.InRange(_writes.Band, 0.3, 1);
    }
}
