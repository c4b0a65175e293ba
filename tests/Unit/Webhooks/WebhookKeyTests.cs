using System.Text;
using Pipeline.ResultsApi.Webhooks;
using Xunit;

namespace Pipeline.Tests.Unit.Webhooks;

/// <summary>The vectors are those of the Standard Webhooks libraries (HMAC) and of the reference server (Ed25519).</summary>
public sealed class WebhookKeyTests
{
    private const string Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    private const string PrivateKey = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    private const string PublicKey = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    private const string Id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    private const long Timestamp = 1614265330;
    private static readonly byte[] Body = "{\"test\": 2432232314}"u8.ToArray();

    [Theory]
    [InlineData(Secret, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData(PrivateKey, "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")]
    public void Signs_as_the_specifications_vectors_say(string secret, string signature)
    {
        Assert.True(WebhookKey.TryParse(secret, out var key));

        Assert.Equal(signature, key.Sign(Id, Timestamp, Body));
    }

    [Fact]
    public void A_receiver_needs_the_secret_or_only_the_public_key()
    {
        Assert.True(WebhookKey.TryParse(Secret, out var shared));
        Assert.True(WebhookKey.TryParse(PrivateKey, out var pair));

        Assert.Equal(Secret, shared.ForReceiver);
        Assert.Equal(PublicKey, pair.ForReceiver);
    }

    [Fact]
    public void A_private_key_may_come_without_its_public_half()
    {
        var seed = Convert.FromBase64String(PrivateKey[5..])[..32];

        Assert.True(WebhookKey.TryParse($"whsk_{Convert.ToBase64String(seed)}", out var key));
        Assert.Equal(PublicKey, key.ForReceiver);
    }

    [Theory]
    [InlineData("")]
    [InlineData("whsec_")]
    [InlineData("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    [InlineData("whsec_not base64")]
    [InlineData("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")] // 22 bytes
    [InlineData("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")]
    [InlineData("whsk_AAAA")]
    [InlineData("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbcAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")] // not its public key
    public void A_secret_of_another_form_is_refused(string text) => Assert.False(WebhookKey.TryParse(text, out _));

    [Theory]
    [InlineData(WebhookKey.Hmac)]
    [InlineData(WebhookKey.Ed25519)]
    public void A_new_key_survives_being_stored(string signing)
    {
        var key = WebhookKey.New(signing);

        var stored = WebhookKey.Of(key.Signing, key.Bytes);

        Assert.Equal(key.Sign("a", 1, Body), stored.Sign("a", 1, Body));
        Assert.NotEqual(key.ForReceiver, WebhookKey.New(signing).ForReceiver);
    }

    [Fact]
    public void Every_key_signs_during_a_rotation()
    {
        Assert.True(WebhookKey.TryParse(Secret, out var old));
        var headers = WebhookHttp
            .Headers(Id, Timestamp, Body, [WebhookKey.New(WebhookKey.Ed25519), old])
            .ToDictionary(h => h.Name, h => h.Value);

        Assert.Equal(Id, headers["webhook-id"]);
        Assert.Equal("1614265330", headers["webhook-timestamp"]);
        Assert.Equal(["v1a", "v1"], headers["webhook-signature"].Split(' ').Select(one => one.Split(',')[0]));
        Assert.EndsWith(old.Sign(Id, Timestamp, Body), headers["webhook-signature"], StringComparison.Ordinal);
    }
}
