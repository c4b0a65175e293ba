using Microsoft.Extensions.Configuration;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.Unit.Hosting;

public sealed class HealthProbeTests
{
    [Theory]
    [InlineData("http://127.0.0.1:5320", null, "http://127.0.0.1:5320/")]
    [InlineData("http://+:8080;https://+:8443", "9000", "http://127.0.0.1:8080/")]
    [InlineData("http://*:8080", null, "http://127.0.0.1:8080/")]
    [InlineData("http://0.0.0.0:8080", null, "http://127.0.0.1:8080/")]
    [InlineData("http://[::]:8080", null, "http://127.0.0.1:8080/")]
    [InlineData("http://worker-7:8080", null, "http://worker-7:8080/")]
    [InlineData(null, "8080;9090", "http://127.0.0.1:8080/")]
    [InlineData("", "8080", "http://127.0.0.1:8080/")]
    [InlineData(null, null, "http://127.0.0.1:5000/")]
    public void Asks_where_the_service_listens(string? urls, string? ports, string asked) =>
        Assert.Equal(new Uri(asked), HealthProbe.Address(Settings(urls, ports)));

    [Theory]
    [InlineData("8080", null)]
    [InlineData(null, "http")]
    [InlineData(null, "65536")]
    public void An_address_that_is_none_is_said(string? urls, string? ports) =>
        Assert.Throws<FormatException>(() => HealthProbe.Address(Settings(urls, ports)));

    [Fact]
    public void Is_asked_for_by_one_word_alone()
    {
        Assert.True(HealthProbe.IsAsked(["health"]));
        Assert.False(HealthProbe.IsAsked([]));
        Assert.False(HealthProbe.IsAsked(["health", "--urls=http://+:1"]));
    }

    private static IConfiguration Settings(string? urls, string? ports) =>
        new ConfigurationBuilder()
            .AddInMemoryCollection(new Dictionary<string, string?> { ["URLS"] = urls, ["HTTP_PORTS"] = ports })
            .Build();
}
