using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Org.BouncyCastle.Crypto.Parameters;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// A key of Standard Webhooks 1.0.0: a secret shared with the receiver (<c>whsec_</c>, HMAC-SHA256, signature <c>v1</c>) or the private half
/// of an Ed25519 pair (<c>whsk_</c>, signature <c>v1a</c>), whose public half (<c>whpk_</c>) is all the receiver needs.
/// </summary>
internal sealed class WebhookKey
{
    public const string Hmac = "hmac_sha256";
    public const string Ed25519 = "ed25519";
    public static readonly IReadOnlyList<string> Signings = [Hmac, Ed25519];

    /// <summary>What is taken as a secret, in the words of an error.</summary>
    public const string Form =
        "whsec_ and base64 of 24 to 64 bytes, or whsk_ and base64 of an Ed25519 private key (32 bytes, or 64 with the public key)";

    private const string SecretPrefix = "whsec_";
    private const string PrivatePrefix = "whsk_";
    private const string PublicPrefix = "whpk_";
    private const int SecretBytesMin = 24;
    private const int SecretBytesMax = 64;
    private const int NewSecretBytes = 32;
    private const int SeedBytes = 32;
    private const int SignatureBytes = 64;

    private readonly byte[] _bytes;
    private readonly Ed25519PrivateKeyParameters? _private;

    private WebhookKey(string signing, byte[] bytes)
    {
        (Signing, _bytes) = (signing, bytes);
        _private = signing == Ed25519 ? new Ed25519PrivateKeyParameters(bytes) : null;
    }

    /// <summary>One of <see cref="Signings"/>.</summary>
    public string Signing { get; }

    /// <summary>As it is stored: the secret, or the seed of the private key.</summary>
    public byte[] Bytes => _bytes;

    /// <summary>What the receiver verifies with: the secret itself, or the public key.</summary>
    public string ForReceiver =>
        _private is null
            ? SecretPrefix + Convert.ToBase64String(_bytes)
            : PublicPrefix + Convert.ToBase64String(_private.GeneratePublicKey().GetEncoded());

    /// <summary>A new key for <paramref name="signing"/>.</summary>
    public static WebhookKey New(string signing) =>
        new(signing, RandomNumberGenerator.GetBytes(signing == Ed25519 ? SeedBytes : NewSecretBytes));

    /// <summary>A key as it was stored.</summary>
    public static WebhookKey Of(string signing, byte[] bytes) => new(signing, bytes);

    /// <summary>Reads a secret that a client brings along. False where it is not of the <see cref="Form"/>.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out WebhookKey? key)
    {
        key = null;
        if (text.StartsWith(SecretPrefix, StringComparison.Ordinal) && Decode(text[SecretPrefix.Length..]) is { } secret)
        {
            key = secret.Length is >= SecretBytesMin and <= SecretBytesMax ? new WebhookKey(Hmac, secret) : null;
        }
        else if (text.StartsWith(PrivatePrefix, StringComparison.Ordinal) && Decode(text[PrivatePrefix.Length..]) is { } pair)
        {
            key = pair.Length is SeedBytes or 2 * SeedBytes ? new WebhookKey(Ed25519, pair[..SeedBytes]) : null;

            // The second half is the public key; one that belongs to another private key was pasted together wrongly.
            if (
                key is not null
                && pair.Length > SeedBytes
                && !key._private!.GeneratePublicKey().GetEncoded().AsSpan().SequenceEqual(pair.AsSpan(SeedBytes))
            )
            {
                key = null;
            }
        }

        return key is not null;
    }

    /// <summary>One entry of <c>webhook-signature</c> over <c>id.timestamp.body</c>.</summary>
    /// <param name="timestamp">Unix seconds of the attempt.</param>
    public string Sign(string id, long timestamp, ReadOnlySpan<byte> body)
    {
        var head = string.Create(CultureInfo.InvariantCulture, $"{id}.{timestamp}.");
        var content = new byte[Encoding.UTF8.GetByteCount(head) + body.Length];
        body.CopyTo(content.AsSpan(Encoding.UTF8.GetBytes(head, content)));
        if (_private is null)
        {
            return $"v1,{Convert.ToBase64String(HMACSHA256.HashData(_bytes, content))}";
        }

        var signature = new byte[SignatureBytes];
        _private.Sign(Org.BouncyCastle.Math.EC.Rfc8032.Ed25519.Algorithm.Ed25519, null, content, 0, content.Length, signature, 0);
        return $"v1a,{Convert.ToBase64String(signature)}";
    }

    private static byte[]? Decode(string base64)
    {
        var bytes = new byte[base64.Length];
        return Convert.TryFromBase64String(base64, bytes, out var length) ? bytes[..length] : null;
    }
}
