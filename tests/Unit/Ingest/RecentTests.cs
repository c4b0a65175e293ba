using Pipeline.Ingest;
using Pipeline.Tests.Unit.Worker;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class RecentTests
{
    private readonly Clock _clock = new();
    private int _reads;

    [Fact]
    public async Task Rows_are_read_once_and_again_when_they_are_two_seconds_old()
    {
        using var recent = new Recent<string>(ReadAsync, _clock);

        Assert.Equal(["1", "1"], [await recent.GetAsync(default), await recent.GetAsync(default)]);
        _clock.Pass(TimeSpan.FromSeconds(1.9));
        Assert.Equal("1", await recent.GetAsync(default));
        _clock.Pass(TimeSpan.FromSeconds(0.1));
        Assert.Equal("2", await recent.GetAsync(default));
    }

    [Fact]
    public async Task What_is_forgotten_is_read_anew_also_where_a_reading_was_under_way()
    {
        var gate = new TaskCompletionSource();
        using var recent = new Recent<string>(
            async stop =>
            {
                await gate.Task.WaitAsync(stop);
                return await ReadAsync(stop);
            },
            _clock
        );
        var first = recent.GetAsync(default);

        recent.Forget();
        gate.SetResult();

        Assert.Equal(["1", "2", "2"], [await first, await recent.GetAsync(default), await recent.GetAsync(default)]);
    }

    [Fact]
    public async Task What_is_not_found_is_looked_for_in_rows_read_since()
    {
        using var recent = new Recent<string>(ReadAsync, _clock);
        await recent.GetAsync(default);

        Assert.Equal("2", await recent.FindAsync(rows => rows == "2" ? rows : null, default));
        Assert.Equal("2", await recent.FindAsync(rows => rows == "2" ? rows : null, default));
        Assert.Equal(2, _reads);
    }

    [Fact]
    public async Task What_nobody_has_set_costs_one_reading_more_for_all_who_came_during_the_first()
    {
        var gate = new TaskCompletionSource();
        using var recent = new Recent<string>(
            async stop =>
            {
                await (_reads == 1 ? gate.Task : Task.CompletedTask).WaitAsync(stop);
                return await ReadAsync(stop);
            },
            _clock
        );
        await recent.GetAsync(default);

        Task<string?>[] calls = [.. Enumerable.Range(0, 20).Select(_ => recent.FindAsync(_ => (string?)null, default).AsTask())];
        gate.SetResult();

        Assert.All(await Task.WhenAll(calls), Assert.Null);
        Assert.Equal(3, _reads);
    }

    private Task<string> ReadAsync(CancellationToken stop) => Task.FromResult($"{++_reads}");
}
