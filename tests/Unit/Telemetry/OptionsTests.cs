using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>The options, and the log in JSON.</summary>
public sealed class OptionsTests
{
    [Fact]
    public void All_mistakes_are_told_at_once()
    {
        var mistakes = Assert.Throws<OptionsException>(() =>
            TelemetryOptions.Read(Configuration(("Telemetry:SampleRatio", "2"), ("Telemetry:ModelsMax", "0"), ("Telemetry:SeriesMax", "1")))
        );
        Assert.Equal(3, mistakes.Message.Split(Environment.NewLine).Length);
        Assert.Contains("Telemetry:SampleRatio expects 0 to 1, given \"2\"", mistakes.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_console_writes_JSON_where_it_is_asked_to()
    {
        var services = new ServiceCollection();
        services.AddLogging(log => log.AddSimpleConsole());
        services.AddPipelineTelemetry(Configuration(("Telemetry:JsonLogs", "true")), "test");
        using var provider = services.BuildServiceProvider();

        Assert.Equal(ConsoleFormatterNames.Json, provider.GetRequiredService<IOptions<ConsoleLoggerOptions>>().Value.FormatterName);
        Assert.True(provider.GetRequiredService<IOptions<JsonConsoleFormatterOptions>>().Value.IncludeScopes);
    }

    private static IConfigurationRoot Configuration(params (string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(s => KeyValuePair.Create(s.Key, (string?)s.Value))).Build();
}
