using System.Text.Json;
using Pipeline.Tests.Support.Servers;
using RabbitMQ.Client;
using Xunit;

namespace Pipeline.Tests.Integration.Servers;

public sealed class TestRabbitMqTests
{
    [Fact]
    public async Task Two_virtual_hosts_do_not_see_each_other()
    {
        await using var one = await TestRabbitMq.CreateVhostAsync();
        await using var two = await TestRabbitMq.CreateVhostAsync();
        await using var connection = await new ConnectionFactory { Uri = new Uri(one.Uri) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync();

        await channel.QueueDeclareAsync("q", durable: true, exclusive: false, autoDelete: false);

        Assert.Equal(1, (await one.GetAsync<JsonElement>("queues/{vhost}")).GetArrayLength());
        Assert.Equal(0, (await two.GetAsync<JsonElement>("queues/{vhost}")).GetArrayLength());
    }
}
