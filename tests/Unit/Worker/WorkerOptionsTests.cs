using Microsoft.Extensions.Configuration;
using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class WorkerOptionsTests
{
    [Fact]
    public void Defaults_hold_together() => Assert.Equal("default", Read().Pool);

    [Fact]
    public void Every_mistake_is_told_at_once()
    {
        var told = Assert.Throws<OptionsException>(() =>
            Read(("Pool", ""), ("Providers", "cpu,abacus"), ("WriteRowsMax", "0"), ("RetryPauseMin", "00:01:00"))
        );

        Assert.Equal(4, told.Message.Split(Environment.NewLine).Length);
        Assert.Contains(
            "Worker:Providers expects a list of cuda, webgpu, cpu, given \"cpu,abacus\"",
            told.Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Providers_keep_their_order() => Assert.Equal(["webgpu", "cpu"], Read(("Providers", "webgpu, cpu")).ProviderOrder);

    [Fact]
    public void The_split_method_is_one_that_is_known()
    {
        Assert.Equal(SplitMethod.Padded, Read(("SplitMethod", "padded.v1")).SplitMethodChosen);
        var mistake = Assert.Throws<OptionsException>(() => Read(("SplitMethod", "units")));
        Assert.Equal("Worker:SplitMethod expects units.v1, equal.v1, padded.v1, given \"units\"", mistake.Message);
    }

    [Fact]
    public void The_price_is_exact_in_pico_dollars() =>
        Assert.Equal(123_456_000_000, Read(("PricePerHourUsd", "0.123456")).PricePerHourPico);

    private static WorkerOptions Read(params (string Key, string Value)[] settings) =>
        WorkerOptions.Read(
            new ConfigurationBuilder()
                .AddInMemoryCollection(settings.Select(s => KeyValuePair.Create($"Worker:{s.Key}", (string?)s.Value)))
                .Build()
        );
}
