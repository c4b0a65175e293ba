using Pipeline.Contracts;
using Pipeline.ResultsApi.Webhooks;
using Xunit;

namespace Pipeline.Tests.Unit.Webhooks;

public sealed class EndpointFlowTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 26, 12, 0, 0, TimeSpan.Zero);
    private static readonly AttemptResult Good = new(204, null, null, TimeSpan.Zero);
    private static readonly AttemptResult Bad = new(500, null, null, TimeSpan.Zero);
    private readonly WebhookOptions _options = new();
    private readonly EndpointFlow _flow;

    public EndpointFlowTests() => _flow = new EndpointFlow(new WebhookEndpointId(Guid.Empty), _options);

    [Fact]
    public void The_window_begins_small_and_grows_with_every_success_up_to_its_bound()
    {
        Assert.Equal(EndpointFlow.WindowFirst * _options.ClaimAheadMax, _flow.Room(Now));
        for (var i = 0; i < 100; i++)
        {
            Send(Good);
        }

        Assert.Equal(_options.EndpointRequestsMax * _options.ClaimAheadMax, _flow.Room(Now));
    }

    [Fact]
    public void One_that_fails_has_one_request_at_a_time_and_pauses_that_grow_to_a_bound()
    {
        Send(Bad);
        Assert.Equal(1, _flow.Room(Now));
        Send(Bad);
        Assert.Equal(0, _flow.Room(Now));
        Assert.Equal(1, _flow.Room(Now + TimeSpan.FromMilliseconds(250)));
        for (var i = 0; i < 60; i++)
        {
            Send(Bad);
        }

        Assert.Equal(Now + _options.FailingPauseMax, _flow.PausedUntil);
        Send(Good);
        Assert.False(_flow.Fails);
    }

    [Theory]
    [InlineData(429, true)]
    [InlineData(503, true)]
    [InlineData(500, false)]
    public void Who_asks_for_time_gets_it_from_all_deliveries(int status, bool pauses)
    {
        Send(new AttemptResult(status, null, null, TimeSpan.Zero, TimeSpan.FromMinutes(3)));

        Assert.Equal(pauses, _flow.PausedUntil == Now + TimeSpan.FromMinutes(3));
    }

    private void Send(AttemptResult result)
    {
        _flow.Sending++;
        _flow.Observe(result, Now);
    }
}
