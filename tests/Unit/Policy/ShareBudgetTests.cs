using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public sealed class ShareBudgetTests
{
    [Fact]
    public void A_share_of_what_came_may_be_spent_and_no_more()
    {
        var budget = new ShareBudget();
        budget.Earn(200);

        Assert.Equal(4, budget.Left(0.02), 9);
        budget.Spend(3, 0.02);
        Assert.Equal(1, budget.Left(0.02), 9);
        budget.Spend(2, 0.02);
        Assert.Equal(0, budget.Left(0.02));
    }

    [Fact]
    public void All_may_be_spent_at_a_share_of_one_and_nothing_at_none()
    {
        var budget = new ShareBudget();
        budget.Earn(1);

        Assert.Equal(double.PositiveInfinity, budget.Left(1));
        Assert.Equal(0, budget.Left(0));
    }

    [Fact]
    public void What_a_quiet_day_saved_is_bounded()
    {
        var budget = new ShareBudget();
        budget.Earn(10_000_000);

        Assert.Equal(100, budget.Left(0.01), 9);
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(0, false)]
    public void Nobody_steps_aside_beyond_the_share_that_may(double shareMax, bool steps)
    {
        var options = new PolicyOptions { ExpressLead = TimeSpan.Zero, ExpressRelegateShareMax = shareMax };
        var world = new PolicyWorld(options).Knows(profile: PolicyWorld.Profile with { AlphaNs = 20_000_000, BetaNs = 1_000_000 });
        world.Worker();
        var target = options.Classes[LatencyClass.Express].Target;

        // Far more than one device can take: 20 ms and 1 ms a task.
        var aside = 0;
        Dispatch? running = null;
        for (var step = 0; step < 400; step++)
        {
            for (var i = 0; i < 10; i++)
            {
                world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);
            }

            if (running is not null && step % 20 == 0)
            {
                world.Finish(running);
                running = null;
            }

            foreach (var decision in world.Plan())
            {
                aside += decision is RelegateJob { Why.Code: Reasons.ExpressRelegated } ? 1 : 0;
                running = decision is SendDispatch send ? send.Dispatch : running;
            }

            world.Wait(target / 100);
        }

        Assert.Equal(steps, aside > 0);
    }
}
