using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.ResultsApi.Dashboard.Fleet;
using Pipeline.Tests.Integration.Transport;
using Pipeline.Tests.Support.Servers;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>RabbitMQ's queues as the dashboard sees them, and dead letters that are sent again.</summary>
public sealed class BrokerQueuesTests : IAsyncLifetime
{
    private TestVhost _vhost = null!;

    public async ValueTask InitializeAsync() => _vhost = await TestRabbitMq.CreateVhostAsync();

    public ValueTask DisposeAsync() => _vhost.DisposeAsync();

    [Fact]
    public async Task Queues_that_are_there_are_told_with_depth_and_consumers_and_others_are_left_out()
    {
        await using var process = await BusProcess.StartAsync(_vhost.Uri, Scheduler());

        var queues = await Queues().ReadAsync(CancellationToken.None);

        Assert.Equal(
            [(Bus.SchedulerQueue, 1u, false), (Bus.DeadLetterQueue, 0u, true)],
            queues.Select(q => (q.Name, q.Consumers, q.IsDeadLetters))
        );
    }

    [Fact]
    public async Task Dead_letters_are_sent_again_as_they_were_and_no_more_than_are_taken_at_once()
    {
        await using (await BusProcess.StartAsync(_vhost.Uri, Scheduler()))
        {
            // Declares the queues.
        }

        await using var connection = await new ConnectionFactory { Uri = new Uri(_vhost.Uri) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true));
        for (byte letter = 1; letter <= 3; letter++)
        {
            var properties = new BasicProperties
            {
                ContentType = "application/vnd.masstransit+json",
                Headers = new Dictionary<string, object?> { ["MT-Fault-Message"] = "no", ["kept"] = "yes" },
            };
            await channel.BasicPublishAsync("", Bus.DeadLetterQueue, mandatory: true, properties, new[] { letter });
        }

        Assert.Equal(2, await Queues().RedriveAsync(Bus.DeadLetterQueue, CancellationToken.None));
        var came = new List<(byte, string?, bool, bool)>();
        var both = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, letter) =>
        {
            var headers = letter.BasicProperties.Headers!;
            came.Add(
                (
                    letter.Body.Span[0],
                    letter.BasicProperties.ContentType,
                    headers.ContainsKey("kept"),
                    headers.ContainsKey("MT-Fault-Message")
                )
            );
            if (came.Count == 2)
            {
                both.SetResult();
            }

            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(Bus.SchedulerQueue, autoAck: true, consumer);
        await both.Task.WaitAsync(TimeSpan.FromSeconds(30));

        const string Json = "application/vnd.masstransit+json";
        Assert.Equal([((byte)1, Json, true, false), ((byte)2, Json, true, false)], came);
        Assert.Equal(1, await Queues().RedriveAsync(Bus.DeadLetterQueue, CancellationToken.None));
        Assert.Equal(0, await Queues().RedriveAsync(Bus.DeadLetterQueue, CancellationToken.None));
    }

    private BrokerQueues Queues() =>
        new(
            new PipelineOptions { Broker = _vhost.Uri, Database = "unused" },
            new DashboardOptions { RedriveMax = 2, RedrivePerSecond = 1000 }
        );

    private static Listener Scheduler() =>
        new(
            Bus.SchedulerQueue,
            static (endpoint, listener) =>
            {
                endpoint.AsSchedulerQueue(prefetch: 8);
                listener.Take<ChunkSubmitted>(endpoint);
            }
        );
}
