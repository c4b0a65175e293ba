using Microsoft.Extensions.Logging;
using Xunit;

namespace Pipeline.Tests.Support;

/// <summary>Shows a service's log with the test that used it.</summary>
internal sealed class TestLog(ITestOutputHelper output) : ILoggerProvider
{
    public ILogger CreateLogger(string categoryName) => new Category(output, categoryName);

    public void Dispose() { }

    private sealed class Category(ITestOutputHelper output, string name) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        )
        {
            if (IsEnabled(logLevel))
            {
                try
                {
                    output.WriteLine($"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {name}: {formatter(state, exception)} {exception}");
                }
                catch (InvalidOperationException)
                {
                    // The test has ended before its services did.
                }
            }
        }
    }
}

internal static class TestLogs
{
    /// <summary>Shows what a service logs from here on with the test that runs.</summary>
    public static void AddTestLog(this ILoggingBuilder logging)
    {
        if (TestContext.Current.TestOutputHelper is { } output)
        {
            logging.AddProvider(new TestLog(output));
        }
    }
}
