using Pipeline.Contracts;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Worker;

/// <summary>What a job is charged as it runs, and what happens when that comes to its budget. The fake model counts a unit a character.</summary>
public sealed class BudgetTests
{
    [Fact]
    public async Task A_job_is_charged_for_the_units_that_succeeded_and_its_month_is_settled()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(["1", "22", "333", FakeModel.Bad, "4444"]);
        await world.Database.ExecuteAsync(
            """
            UPDATE jobs SET per_million_units_pico = 3500000, estimate_pico = 1000, reserved_pico = 1000;
            INSERT INTO tenant_budgets SELECT id, 1000000, '{}' FROM tenants;
            INSERT INTO tenant_months SELECT id, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 5000, 0 FROM tenants
            """
        );

        await world.RunAsync(job);

        Assert.Equal(10, await world.Database.ScalarAsync<long>("SELECT units_done FROM jobs WHERE state = 'completed'"));
        Assert.Equal(
            "1 2 3 0 4",
            await world.Database.ScalarAsync<string>("SELECT string_agg(units::text, ' ' ORDER BY seq) FROM results")
        );
        Assert.Equal(5000 - 1000 + 35, await world.Database.ScalarAsync<decimal>("SELECT spent_pico FROM tenant_months"));
    }

    [Fact]
    public async Task A_job_that_passes_its_budget_ends_cancelled_after_the_batch_that_passed_it()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 4);
        var job = await world.SeedAsync([.. Enumerable.Range(0, 40).Select(_ => "12345")], chunkTasks: 8);
        await world.Database.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 1000000, max_cost_pico = 50");

        var finished = await world.RunAsync(job);

        // Ten tasks are paid for; the batch of four that passes that is the third, and no other ran.
        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(3, world.Model.Runs.Count);
        Assert.Equal(
            "cancelled budget_exceeded",
            await world.Database.ScalarAsync<string>("SELECT state || ' ' || cancel_reason FROM jobs")
        );
        Assert.Equal(12, await world.Database.ScalarAsync<int>("SELECT succeeded FROM jobs WHERE cancelled = 28"));
        Assert.Equal(28, await world.Database.ScalarAsync<long>("SELECT count(*) FROM results WHERE error_code = 'budget_exceeded'"));
        Assert.Equal(
            "job.cancelling budget_exceeded, job.cancelled budget_exceeded",
            await world.Database.ScalarAsync<string>("SELECT string_agg(type || ' ' || (data ->> 'reason'), ', ' ORDER BY id) FROM events")
        );
        Assert.Empty(await world.BegunAsync());
        await world.StopAsync();
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task A_job_whose_last_batch_passes_its_budget_is_complete()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 4);
        var job = await world.SeedAsync(["12345", "12345"]);
        await world.Database.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 1000000, max_cost_pico = 9");

        await world.RunAsync(job);

        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs WHERE cancel_reason IS NULL"));
    }
}
