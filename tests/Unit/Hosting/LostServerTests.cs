using MassTransit;
using Npgsql;
using Pipeline.Hosting;
using RabbitMQ.Client.InItsPlace;
using Xunit;

namespace Pipeline.Tests.Unit.Hosting
{
    /// <summary>Which errors say that a server is away, so that the same call may succeed later.</summary>
    public sealed class LostServerTests
    {
        [Fact]
        public void A_lost_connection_is_told_from_a_defect()
        {
            Assert.True(Problems.IsLostServer(new NpgsqlException("gone")));
            Assert.True(Problems.IsLostServer(new InvalidOperationException("sent nothing", new ConnectionException("gone"))));
            Assert.False(
                Problems.IsLostServer(new PostgresException("no such table", "ERROR", "ERROR", PostgresErrorCodes.UndefinedTable))
            );
            Assert.False(Problems.IsLostServer(new InvalidOperationException("a defect")));
            Assert.False(Problems.IsLostServer(null));
        }

        [Fact]
        public void A_channel_of_RabbitMQs_client_that_closes_under_a_call_is_a_lost_connection_and_an_object_of_ours_is_not()
        {
            Assert.True(Problems.IsLostServer(Assert.Throws<ObjectDisposedException>(ClosingChannel.Declare)));
            Assert.False(Problems.IsLostServer(Assert.Throws<ObjectDisposedException>(() => ObjectDisposedException.ThrowIf(true, this))));
        }
    }
}

namespace RabbitMQ.Client.InItsPlace
{
    internal static class ClosingChannel
    {
        public static void Declare()
        {
            var held = new SemaphoreSlim(0);
            held.Dispose();
            held.Release();
        }
    }
}
