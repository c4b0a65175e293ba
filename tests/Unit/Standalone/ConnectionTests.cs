using System.CommandLine;
using Pipeline.Standalone.Client;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

/// <summary>Where client commands find the service.</summary>
public class ConnectionTests
{
    [Fact]
    public void An_address_and_a_key_on_the_command_line_are_enough()
    {
        var (command, connection) = Create();
        var parsed = command.Parse(["--url", "http://127.0.0.1:5320", "--key", "pk_x", "--data", "nowhere"]);

        Assert.Empty(parsed.Errors);
        using var client = connection.Open(parsed);
    }

    [Theory]
    [InlineData("127.0.0.1:5320")]
    [InlineData("/tmp/socket")]
    [InlineData("ftp://127.0.0.1/")]
    public void What_is_no_address_is_refused_with_one_that_is(string given)
    {
        var (command, _) = Create();

        var error = Assert.Single(command.Parse(["--url", given]).Errors);

        Assert.Equal($"--url expects an address like http://127.0.0.1:5320, given \"{given}\".", error.Message);
    }

    private static (RootCommand Command, Connection Connection) Create()
    {
        var (command, connection) = (new RootCommand(), new Connection());
        connection.AddTo(command);
        return (command, connection);
    }
}
