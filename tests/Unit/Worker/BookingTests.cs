using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.GpuWorker.Stages;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class BookingTests
{
    private const long Price = Cost.PicoPerUsd;

    [Fact]
    public void Tasks_and_padding_sum_to_the_batch_to_the_last_digit()
    {
        var span = new DeviceSpan(SpanKind.Batch, 1_000_003, 8_000_010);
        var sums = new LedgerSums();

        new BatchBooking(span, [7, 1, 3], paddedUnits: 21, Price).AddTo(sums, _ => true);

        Assert.Equal(span.Ns, sums.Entries.Sum(e => e.Ns));
        Assert.Equal(Cost.Interval(span.FromNs, span.ToNs, Price), sums.Entries.Sum(e => e.Pico));
    }

    [Fact]
    public void A_task_pays_for_its_units_and_nobody_for_padding()
    {
        var booking = new BatchBooking(new DeviceSpan(SpanKind.Batch, 0, 3_600_000_000), [30, 10], paddedUnits: 60, Price);

        // A thousandth of an hour costs a thousandth of a dollar, and a third of it is padding.
        Assert.Equal(1_000_000_000, booking.CostPico);
        Assert.Equal(booking.CostPico, booking.TaskPico.Sum() + booking.PaddingPico);
        Assert.InRange(booking.PaddingPico, 333_333_333, 333_333_334);
        Assert.Equal(500_000_000, booking.TaskPico[0]);
    }

    [Fact]
    public void A_task_that_had_ended_before_is_waste()
    {
        var booking = new BatchBooking(new DeviceSpan(SpanKind.Batch, 0, 1_000_000), [1, 2, 3], paddedUnits: 9, Price);
        var sums = new LedgerSums();

        booking.AddTo(sums, row => row != 1);

        var waste = Assert.Single(sums.Entries, e => e.Account == LedgerAccount.Waste);
        Assert.Equal(("duplicate", booking.TaskPico[1]), (waste.Detail, waste.Pico));
        Assert.Equal(booking.TaskPico[0] + booking.TaskPico[2], sums.Entries.Single(e => e.Account == LedgerAccount.Task).Pico);
        Assert.Equal(1_000_000, sums.Entries.Sum(e => e.Ns));
    }
}
