using System.Diagnostics;
using System.Threading.Channels;
using Pipeline.Hosting;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>A queue of the broker.</summary>
/// <param name="Messages">Messages that no consumer has been given yet.</param>
/// <param name="IsDeadLetters">True where messages end that nobody could process.</param>
public sealed record BrokerQueue(string Name, uint Messages, uint Consumers, bool IsDeadLetters);

/// <summary>
/// The queues of RabbitMQ as AMQP itself tells of them: each is declared passively, which changes nothing and needs no plugin of the broker.
/// A look is a connection. Of a queue that is not there nothing is told, nor of the temporary queues of instances and workers: the broker
/// tells of those to nobody but their owner.
/// </summary>
internal sealed class BrokerQueues(PipelineOptions broker, DashboardOptions options)
{
    private static readonly TimeSpan ConnectMax = TimeSpan.FromSeconds(5);

    /// <summary>How long a queue is waited on for its next message before it is taken for empty.</summary>
    private static readonly TimeSpan EmptyAfter = TimeSpan.FromSeconds(1);

    /// <summary>Where messages end that could not be read, or were delivered again and again.</summary>
    public static readonly IReadOnlyList<string> DeadLetters = [$"{Bus.SchedulerQueue}_error", Bus.DeadLetterQueue];

    /// <summary>False where everything is in one process: there are no queues to look at then.</summary>
    public bool HasBroker => !broker.UsesInMemoryBroker;

    /// <exception cref="BrokerUnreachableException">The broker does not answer.</exception>
    public async Task<IReadOnlyList<BrokerQueue>> ReadAsync(CancellationToken stop)
    {
        var queues = new List<BrokerQueue>();
        await using var connection = await ConnectAsync(stop);
        foreach (var name in DeadLetters.Prepend(Bus.SchedulerQueue))
        {
            // A queue that is not there closes the channel it was asked on.
            await using var channel = await connection.CreateChannelAsync(cancellationToken: stop);
            try
            {
                var queue = await channel.QueueDeclarePassiveAsync(name, stop);
                queues.Add(new BrokerQueue(name, queue.MessageCount, queue.ConsumerCount, DeadLetters.Contains(name)));
            }
            catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == 404)
            {
                // Error queues come with their first message.
            }
        }

        return queues;
    }

    /// <summary>
    /// Sends dead letters to the scheduler's queue again, from where they came: at most <see cref="DashboardOptions.RedriveMax"/>, at a
    /// bounded rate. Each is confirmed there before it is taken away here, so none is lost; one may come twice, which the scheduler bears.
    /// </summary>
    /// <returns>How many were sent.</returns>
    public async Task<int> RedriveAsync(string queue, CancellationToken stop)
    {
        await using var connection = await ConnectAsync(stop);
        var confirmed = new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true);
        await using var channel = await connection.CreateChannelAsync(confirmed, stop);
        var letters = Channel.CreateBounded<Letter>(1);
        var consumer = new AsyncEventingBasicConsumer(channel);
        // What a delivery points to is good only until this returns.
        consumer.ReceivedAsync += async (_, letter) =>
            await letters.Writer.WriteAsync(new(letter.DeliveryTag, Again(letter.BasicProperties), letter.Body.ToArray()), stop);
        // What comes back at once, since it still cannot be processed, is not sent a second time.
        var most = Math.Min(options.RedriveMax, (await channel.QueueDeclarePassiveAsync(queue, stop)).MessageCount);
        await channel.BasicQosAsync(0, 1, global: false, stop);
        await channel.BasicConsumeAsync(queue, autoAck: false, consumer, stop);
        var sent = 0;
        var pace = TimeSpan.FromSeconds(1.0 / options.RedrivePerSecond);
        for (var clock = Stopwatch.StartNew(); sent < most && await NextAsync(letters.Reader, stop) is { } letter; sent++)
        {
            await channel.BasicPublishAsync("", Bus.SchedulerQueue, mandatory: true, letter.Properties, letter.Body, stop);
            await channel.BasicAckAsync(letter.Tag, multiple: false, stop);
            var early = (pace * (sent + 1)) - clock.Elapsed;
            await Task.Delay(early > TimeSpan.Zero ? early : TimeSpan.Zero, stop);
        }

        return sent;
    }

    private static async Task<Letter?> NextAsync(ChannelReader<Letter> letters, CancellationToken stop)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(EmptyAfter);
        try
        {
            return await letters.ReadAsync(patience.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>As it was sent at first: what was added when it failed, the count of deliveries too, is left out.</summary>
    private static BasicProperties Again(IReadOnlyBasicProperties found)
    {
        var properties = new BasicProperties(found);
        properties.Headers = properties
            .Headers?.Where(h =>
                !h.Key.StartsWith("MT-Fault-", StringComparison.Ordinal)
                && !h.Key.StartsWith("x-death", StringComparison.Ordinal)
                && !h.Key.StartsWith("x-first-death", StringComparison.Ordinal)
                && !h.Key.StartsWith("x-last-death", StringComparison.Ordinal)
                && h.Key is not ("MT-Reason" or "x-delivery-count" or "x-acquired-count")
            )
            .ToDictionary();
        return properties;
    }

    private Task<IConnection> ConnectAsync(CancellationToken stop) =>
        new ConnectionFactory
        {
            Uri = new Uri(broker.Broker),
            AutomaticRecoveryEnabled = false,
            RequestedConnectionTimeout = ConnectMax,
            ClientProvidedName = "pipeline dashboard",
        }.CreateConnectionAsync(stop);

    private sealed record Letter(ulong Tag, BasicProperties Properties, byte[] Body);
}
