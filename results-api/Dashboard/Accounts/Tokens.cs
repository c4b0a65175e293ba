using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>Random secrets of 256 bits: who holds one is let in, and only its hash is stored.</summary>
internal static class Tokens
{
    public static string Create() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    public static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}
