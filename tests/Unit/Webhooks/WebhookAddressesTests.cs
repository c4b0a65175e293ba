using System.Net;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.Unit.Webhooks;

public sealed class WebhookAddressesTests
{
    private static readonly WebhookAddresses Strict = new(new WebhookAddressOptions());

    [Theory]
    [InlineData("93.184.216.34")]
    [InlineData("172.32.0.1")]
    [InlineData("100.128.0.1")]
    [InlineData("2606:2800:220:1:248:1893:25c8:1946")]
    public void Public_addresses_may_be_called(string address) => Assert.True(Strict.MayCall(IPAddress.Parse(address)));

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("127.255.255.254")]
    [InlineData("0.0.0.0")]
    [InlineData("10.1.2.3")]
    [InlineData("172.16.0.1")]
    [InlineData("172.31.255.255")]
    [InlineData("192.168.1.1")]
    [InlineData("169.254.169.254")]
    [InlineData("100.64.0.1")]
    [InlineData("192.0.2.1")]
    [InlineData("198.18.0.1")]
    [InlineData("224.0.0.1")]
    [InlineData("255.255.255.255")]
    [InlineData("::")]
    [InlineData("::1")]
    [InlineData("::ffff:127.0.0.1")]
    [InlineData("::ffff:10.0.0.1")]
    [InlineData("::127.0.0.1")]
    [InlineData("64:ff9b::7f00:1")]
    [InlineData("2002:7f00:1::")]
    [InlineData("2001::1")]
    [InlineData("2001:db8::1")]
    [InlineData("fc00::1")]
    [InlineData("fd00:ec2::254")]
    [InlineData("fe80::1")]
    [InlineData("ff02::1")]
    public void Addresses_of_inner_networks_may_not(string address) => Assert.False(Strict.MayCall(IPAddress.Parse(address)));

    [Fact]
    public void What_is_allow_listed_may_be_called()
    {
        var open = new WebhookAddresses(new WebhookAddressOptions { AllowAddresses = ["10.1.0.0/16", "::1"] });

        Assert.True(open.MayCall(IPAddress.Parse("10.1.2.3")));
        Assert.True(open.MayCall(IPAddress.Parse("::ffff:10.1.2.3")));
        Assert.True(open.MayCall(IPAddress.IPv6Loopback));
        Assert.False(open.MayCall(IPAddress.Parse("10.2.0.1")));
    }

    [Theory]
    [InlineData("https://example.org/hook?a=b", null)]
    [InlineData("https://example.org:8443/", null)]
    [InlineData("http://example.org/", "an https address (http only where its operator sets Webhooks:AllowHttp)")]
    [InlineData("ftp://example.org/", "an https address")]
    [InlineData("nowhere", "an https address")]
    [InlineData("/v1/hook", "an https address")]
    [InlineData(" https://example.org/", "an https address")]
    [InlineData("https:\\\\example.org/", "an https address")]
    [InlineData("https://example.org/a b", "an https address")]
    [InlineData("https://user:pass@example.org/", "without a user")]
    [InlineData("https://example.org/#part", "fragment")]
    [InlineData("https://localhost/", "public internet")]
    [InlineData("https://localhost./", "public internet")]
    [InlineData("https://a.localhost/", "public internet")]
    [InlineData("https://127.0.0.1/", "public internet")]
    [InlineData("https://2130706433/", "public internet")]
    [InlineData("https://0x7f.1/", "public internet")]
    [InlineData("https://[::1]/", "public internet")]
    [InlineData("https://[::ffff:169.254.169.254]/", "public internet")]
    public void An_address_is_checked_as_far_as_it_can_be_seen(string url, string? mistake)
    {
        if (mistake is null)
        {
            Assert.Null(Strict.Mistake(url));
        }
        else
        {
            Assert.Contains(mistake, Strict.Mistake(url), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Http_and_loopback_are_taken_where_the_operator_allows_them()
    {
        var open = new WebhookAddresses(new WebhookAddressOptions { AllowHttp = true, AllowAddresses = ["127.0.0.0/8"] });

        Assert.Null(open.Mistake("http://127.0.0.1:8080/hook"));
        Assert.Null(open.Mistake("http://localhost:8080/hook"));
        Assert.Contains("public", open.Mistake("http://10.0.0.1/"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_that_is_none_is_told_at_start()
    {
        var error = Assert.Throws<OptionsException>(() =>
            new WebhookAddresses(new WebhookAddressOptions { AllowAddresses = ["10.1.2.3/16", "here"] })
        );

        Assert.Contains("Webhooks:AllowAddresses", error.Message, StringComparison.Ordinal);
        Assert.Contains("\"here\"", error.Message, StringComparison.Ordinal);
    }
}
