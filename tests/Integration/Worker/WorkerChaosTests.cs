using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Worker;

/// <summary>
/// Whatever is dispatched twice, cut off or given up, in whatever order: in the end every task has one result, and the books close.
/// The seed is the test's argument; one that fails becomes another line here.
/// </summary>
public sealed class WorkerChaosTests
{
    private const int Tasks = 300;
    private const int Rounds = 40;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public async Task Every_task_ends_once_and_the_books_close_whatever_happens(int seed)
    {
        var random = new Random(seed);
        await using var world = await WorkerWorld.StartAsync(
            settings: [("Worker:WriteRowsMax", "16"), ("Worker:SplitMethod", ((SplitMethod)(seed % 3)).Name())]
        );
        var reuses = seed > 3;
        var job = await SeededJob.CreateAsync(world.Rows, Texts(random, reuses), 20, marksCopies: reuses, usesCache: reuses);
        if (reuses)
        {
            await TenantCaches.SetAsync(world.Rows, job.Tenant.ToString(), TimeSpan.FromHours(1), 1 << 20, 100);
        }

        var epoch = 1;
        for (var round = 0; round < Rounds; round++)
        {
            switch (random.Next(10))
            {
                case 0:
                    await world.BreakConnectionsAsync();
                    break;
                case 1:
                    await world.DeclareLostAsync();
                    await world.NextLifeAsync();
                    break;
                case 2 when random.Next(2) == 0:
                    await SetPriceAsync(world, random);
                    break;
                case 2:
                    await world.PublishAsync(new SchedulerChanged { Epoch = ++epoch, Instance = Guid.NewGuid() });
                    break;
                default:
                    await world.SendAsync(job, d => Some(random, d with { Epoch = epoch }));
                    break;
            }
        }

        var last = await world.RunAsync(job, d => d with { Epoch = epoch });
        await world.StopAsync();

        Assert.All(last.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(Enumerable.Range(0, Tasks), await world.SeqsAsync());
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        Assert.Equal(0, world.Models.Lent);
        await ReuseTests.AssertAnswersAsync(world, job, someFail: true);
        await LedgerCheck.AssertClosesAsync(world.Rows);
        await LedgerScript.AssertClosesAsync(world.Rows);
    }

    /// <summary>A price that holds in an instant, far sooner than an operator may set one: so it meets batches, idle time and commits.</summary>
    private static Task<int> SetPriceAsync(WorkerWorld world, Random random) =>
        world.Database.ExecuteAsync(
            """
            INSERT INTO pool_prices (pool, valid_from, price_per_hour_pico, created_at)
            VALUES ('default', clock_timestamp() + '50 ms', $1, now())
            """,
            random.NextInt64(0, 10 * Cost.PicoPerUsd)
        );

    private static Dispatch Some(Random random, Dispatch dispatch)
    {
        var slices = dispatch.Slices.Where(_ => random.Next(4) == 0).Select(s => s with { First = random.Next(5), Count = s.Count - 5 });
        return dispatch with
        {
            Slices = [.. slices.DefaultIfEmpty(dispatch.Slices[0])],
            Lane = random.Next(3) == 0 ? Lane.Express : Lane.Bulk,
            CommitRowsMax = random.Next(3) == 0 ? random.Next(1, 9) : null,
        };
    }

    /// <summary>Where results are reused, half of the texts came before.</summary>
    private static string[] Texts(Random random, bool repeats)
    {
        var texts = new string[Tasks];
        for (var i = 0; i < Tasks; i++)
        {
            texts[i] = repeats && i > 0 && random.Next(2) == 0 ? texts[random.Next(i)] : Text(random, i);
        }

        return texts;
    }

    private static string Text(Random random, int number) =>
        random.Next(40) switch
        {
            0 => FakeModel.Fails + number,
            1 => FakeModel.Bad + number,
            2 => FakeModel.Spoils + number,
            _ => new string('x', random.Next(1, 40)) + number,
        };
}
