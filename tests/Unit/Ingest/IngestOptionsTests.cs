using Microsoft.Extensions.Configuration;
using Pipeline.Hosting;
using Pipeline.Ingest;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class IngestOptionsTests
{
    [Fact]
    public void The_defaults_hold_together() => new IngestOptions().Check();

    [Fact]
    public void Options_come_from_the_configuration()
    {
        var options = Read(("Ingest:TaskBytesMax", "1000"), ("Ingest:SweepEvery", "00:00:01"));
        Assert.Equal((1000, TimeSpan.FromSeconds(1)), (options.TaskBytesMax, options.SweepEvery));
    }

    [Fact]
    public void Every_mistake_is_told_at_once_with_what_was_expected()
    {
        var error = Assert.Throws<OptionsException>(() =>
            Read(("Ingest:TasksMax", "0"), ("Ingest:LineBytesMax", "100"), ("Ingest:DeadlineMax", "00:30:00"))
        );
        Assert.Equal(
            [
                "Ingest:LineBytesMax expects at least TaskBytesMax, given \"100\"",
                "Ingest:TasksMax expects 1 to 100000000, given \"0\"",
                "Ingest:DeadlineMax expects at least the completion window of every class, given \"00:30:00\"",
            ],
            error.Message.Split(Environment.NewLine)
        );
    }

    private static IngestOptions Read(params (string Key, string Value)[] settings) =>
        IngestOptions.Read(
            new ConfigurationBuilder().AddInMemoryCollection(settings.ToDictionary(s => s.Key, s => (string?)s.Value)).Build()
        );
}
