using Microsoft.Extensions.Configuration;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Unit.Scheduler;

public class SchedulerOptionsTests
{
    [Fact]
    public void Defaults_hold() => Read().Check();

    [Fact]
    public void Settings_reach_the_policy() =>
        Assert.Equal(TimeSpan.FromSeconds(2), Read(("Policy:DispatchTimeTarget", "00:00:02")).Policy.DispatchTimeTarget);

    /// <summary>Another part of the same process goes by the defaults.</summary>
    [Fact]
    public void A_class_that_is_configured_leaves_the_defaults_as_they_are()
    {
        var policy = Read(
            ("Policy:Classes:Express:Target", "00:00:07"),
            ("Policy:Classes:Express:CompletionWindow", "00:02:00"),
            ("Policy:Classes:Express:PriceFactor", "5")
        ).Policy;

        Assert.Equal(TimeSpan.FromSeconds(7), policy.Classes[LatencyClass.Express].Target);
        Assert.Equal(TimeSpan.FromMilliseconds(500), LatencyClasses.Defaults[LatencyClass.Express].Target);
        Assert.Equal(LatencyClasses.Defaults[LatencyClass.Bulk], policy.Classes[LatencyClass.Bulk]);
    }

    [Fact]
    public void Every_mistake_is_told_at_once()
    {
        var e = Assert.Throws<OptionsException>(() =>
            Read(("TickEvery", "00:10:00"), ("Policy:SlicesMax", "0"), ("Policy:WorkerLostAfter", "00:01:00"))
        );

        Assert.Contains("Scheduler:TickEvery expects", e.Message, StringComparison.Ordinal);
        Assert.Contains("Scheduler:Policy:SlicesMax expects 1 to 4096, given \"0\"", e.Message, StringComparison.Ordinal);
        Assert.Contains(
            "Scheduler:Policy:DispatchUnlistedAfter expects more than half of WorkerLostAfter",
            e.Message,
            StringComparison.Ordinal
        );
    }

    private static SchedulerOptions Read(params (string Name, string Value)[] settings) =>
        SchedulerOptions.Read(
            new ConfigurationBuilder()
                .AddInMemoryCollection(settings.ToDictionary(s => $"Scheduler:{s.Name}", s => (string?)s.Value))
                .Build()
        );
}
