using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.GpuWorker.Stages;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class BookingTests
{
    private static readonly DevicePrices Price = new(new PriceStep(0, Cost.PicoPerUsd));

    [Fact]
    public void Tasks_and_padding_sum_to_the_batch_to_the_last_digit()
    {
        var span = new DeviceSpan(SpanKind.Batch, 1_000_003, 8_000_010);
        var sums = new LedgerSums();

        new BatchBooking(span, [7, 1, 3], paddedUnits: 21, Price, SplitMethod.Units).AddTo(sums, _ => true);

        Assert.Equal(span.Ns, sums.Entries.Sum(e => e.Ns));
        Assert.Equal(Price.Interval(span.FromNs, span.ToNs), sums.Entries.Sum(e => e.Pico));
    }

    [Fact]
    public void A_task_pays_for_its_units_and_nobody_for_padding()
    {
        var booking = new BatchBooking(
            new DeviceSpan(SpanKind.Batch, 0, 3_600_000_000),
            [30, 10],
            paddedUnits: 60,
            Price,
            SplitMethod.Units
        );

        // A thousandth of an hour costs a thousandth of a dollar, and a third of it is padding.
        Assert.Equal(1_000_000_000, booking.CostPico);
        Assert.Equal(booking.CostPico, booking.TaskPico.Sum() + booking.PaddingPico);
        Assert.InRange(booking.PaddingPico, 333_333_333, 333_333_334);
        Assert.Equal(500_000_000, booking.TaskPico[0]);
    }

    [Fact]
    public void A_task_that_had_ended_before_is_waste()
    {
        var booking = new BatchBooking(new DeviceSpan(SpanKind.Batch, 0, 1_000_000), [1, 2, 3], paddedUnits: 9, Price, SplitMethod.Units);
        var sums = new LedgerSums();

        booking.AddTo(sums, row => row != 1);

        var waste = Assert.Single(sums.Entries, e => e.Account == LedgerAccount.Waste);
        Assert.Equal(("duplicate", booking.TaskPico[1]), (waste.Detail, waste.Pico));
        Assert.Equal(booking.TaskPico[0] + booking.TaskPico[2], sums.Entries.Single(e => e.Account == LedgerAccount.Task).Pico);
        Assert.Equal(1_000_000, sums.Entries.Sum(e => e.Ns));
    }

    [Theory]
    [InlineData(SplitMethod.Units)]
    [InlineData(SplitMethod.Equal)]
    [InlineData(SplitMethod.Padded)]
    public void Every_method_splits_to_the_last_digit_also_where_the_price_changes_in_the_middle(SplitMethod method)
    {
        var prices = new DevicePrices(new PriceStep(0, 7), new PriceStep(4_000_001, Cost.PicoPerUsd), new PriceStep(5_555_555, 3));
        var span = new DeviceSpan(SpanKind.Batch, 1_000_003, 8_000_010);
        var sums = new LedgerSums();
        var booking = new BatchBooking(span, [7, 1, 3], paddedUnits: 28, prices, method);

        booking.AddTo(sums, row => row != 2);

        Assert.Equal(Cost.Interval(4_000_001, 5_555_555, Cost.PicoPerUsd), booking.CostPico);
        Assert.Equal(booking.CostPico, booking.TaskPico.Sum() + booking.PaddingPico);
        Assert.Equal((span.Ns, booking.CostPico), (sums.Entries.Sum(e => e.Ns), sums.Entries.Sum(e => e.Pico)));
    }

    [Fact]
    public void Equal_shares_leave_padding_apart_and_padded_shares_bear_it()
    {
        var span = new DeviceSpan(SpanKind.Batch, 0, 3_600_000_000);
        var equal = new BatchBooking(span, [30, 10], paddedUnits: 80, Price, SplitMethod.Equal);
        var padded = new BatchBooking(span, [30, 10], paddedUnits: 80, Price, SplitMethod.Padded);

        Assert.Equal([500_000_000, 250_000_000, 250_000_000], [equal.PaddingPico, .. equal.TaskPico]);
        Assert.Equal([0, 500_000_000, 500_000_000], [padded.PaddingPico, .. padded.TaskPico]);
    }
}
