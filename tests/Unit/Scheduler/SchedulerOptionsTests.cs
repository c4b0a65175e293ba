using Microsoft.Extensions.Configuration;
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
