using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Configuration;

namespace Pipeline.Hosting;

/// <summary>Where webhooks may be sent; section <c>Webhooks</c>, the same for who takes addresses (ingest) and who calls them (results-api).</summary>
public sealed record WebhookAddressOptions
{
    public const string Section = "Webhooks";

    /// <summary>Networks that may be called although they are not public: <c>10.1.0.0/16</c>, <c>127.0.0.0/8</c>, <c>::1</c>.</summary>
    public IReadOnlyList<string> AllowAddresses { get; init; } = [];

    /// <summary>Whether <c>http://</c> is taken beside <c>https://</c>.</summary>
    public bool AllowHttp { get; init; }
}

/// <summary>
/// The rules against calls into our own network (SSRF). What an address says is checked when it is given, what its host name resolves to
/// when it is called, at every new connection: a name that changes its mind gains nothing.
/// </summary>
public sealed class WebhookAddresses
{
    /// <summary>Characters of an address at most.</summary>
    public const int LengthMax = 2048;

    /// <summary>
    /// Not public, by IANA's special-purpose registries: this host, private, shared (carrier-grade NAT), loopback, link-local with the clouds'
    /// metadata addresses, protocol assignments, documentation, benchmarks, multicast, reserved; of IPv6 also what stands for an IPv4
    /// address behind a translator (NAT64, 6to4, Teredo), discard, unique local, site-local and segment routing.
    /// </summary>
    private static readonly IPNetwork[] NotPublic =
    [
        .. (
            (string[])
                [
                    "0.0.0.0/8",
                    "10.0.0.0/8",
                    "100.64.0.0/10",
                    "127.0.0.0/8",
                    "169.254.0.0/16",
                    "172.16.0.0/12",
                    "192.0.0.0/24",
                    "192.0.2.0/24",
                    "192.88.99.0/24",
                    "192.168.0.0/16",
                    "198.18.0.0/15",
                    "198.51.100.0/24",
                    "203.0.113.0/24",
                    "224.0.0.0/4",
                    "240.0.0.0/4",
                    "::/96",
                    "64:ff9b::/96",
                    "64:ff9b:1::/48",
                    "100::/64",
                    "2001::/23",
                    "2001:db8::/32",
                    "2002::/16",
                    "3fff::/20",
                    "5f00::/16",
                    "fc00::/7",
                    "fe80::/10",
                    "fec0::/10",
                    "ff00::/8",
                ]
        ).Select(IPNetwork.Parse),
    ];

    private readonly IPNetwork[] _allowed;
    private readonly bool _allowHttp;

    /// <exception cref="OptionsException">An entry of the list is neither an address nor a network.</exception>
    public WebhookAddresses(WebhookAddressOptions options)
    {
        var check = new OptionsCheck(WebhookAddressOptions.Section);
        _allowed = [.. options.AllowAddresses.Select(text => Parse(text, check)).OfType<IPNetwork>()];
        _allowHttp = options.AllowHttp;
        check.ThrowIfAny();
    }

    /// <inheritdoc cref="WebhookAddresses(WebhookAddressOptions)" path="/exception"/>
    public static WebhookAddresses Read(IConfiguration configuration) =>
        new(configuration.GetSection(WebhookAddressOptions.Section).Get<WebhookAddressOptions>() ?? new WebhookAddressOptions());

    /// <summary>Says what an address has to be, in the words of an error; null when this one may be called as far as it can be seen.</summary>
    public string? Mistake(string text)
    {
        var expected = _allowHttp ? "an http or https address" : "an https address";
        // What a lenient parser would repair is refused: everybody who reads the address has to read the same one.
        if (
            text.Length > LengthMax
            || text.Any(c => char.IsWhiteSpace(c) || char.IsControl(c) || c == '\\')
            || !Uri.TryCreate(text, UriKind.Absolute, out var uri)
        )
        {
            return $"{expected} of at most {LengthMax} characters";
        }

        if (!(uri.Scheme == Uri.UriSchemeHttps || (_allowHttp && uri.Scheme == Uri.UriSchemeHttp)) || uri.Host.Length == 0)
        {
            return uri.Scheme == Uri.UriSchemeHttp && uri.Host.Length > 0
                ? $"{expected} (http only where its operator sets Webhooks:AllowHttp)"
                : expected;
        }

        if (uri.UserInfo.Length > 0 || uri.Fragment.Length > 0)
        {
            return $"{expected} without a user, a password or a fragment";
        }

        var host = uri.DnsSafeHost.TrimEnd('.');
        var literal =
            IPAddress.TryParse(host, out var address) ? address
            : host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
                ? IPAddress.Loopback
            : null;
        return literal is null || MayCall(literal) ? null : $"{expected} on the public internet, or one that its operator allows";
    }

    /// <summary>True when a connection to this address may be opened.</summary>
    public bool MayCall(IPAddress address)
    {
        var plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return Array.Exists(_allowed, network => network.Contains(plain))
            || (
                plain.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6
                && !Array.Exists(NotPublic, network => network.Contains(plain))
            );
    }

    private static IPNetwork? Parse(string text, OptionsCheck check)
    {
        if (IPNetwork.TryParse(text, out var network))
        {
            return network;
        }

        if (IPAddress.TryParse(text, out var address))
        {
            return new IPNetwork(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);
        }

        check.Expect(
            false,
            nameof(WebhookAddressOptions.AllowAddresses),
            "addresses or networks like 10.1.0.0/16, without host bits",
            text
        );
        return null;
    }
}
