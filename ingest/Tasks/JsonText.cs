using System.Text.Json;

namespace Pipeline.Ingest.Tasks;

/// <summary>The UTF-8 of JSON strings: in place where nothing is escaped, else unescaped into a buffer that is used again.</summary>
internal sealed class JsonText
{
    private byte[] _unescaped = new byte[1024];

    /// <summary>The string the reader stands on; valid until the next call. False when it holds half of a surrogate pair.</summary>
    public bool TryRead(scoped ref Utf8JsonReader json, out ReadOnlySpan<byte> utf8)
    {
        if (!json.ValueIsEscaped)
        {
            utf8 = json.ValueSpan;
            return true;
        }

        if (_unescaped.Length < json.ValueSpan.Length)
        {
            _unescaped = GC.AllocateUninitializedArray<byte>(Math.Max(json.ValueSpan.Length, _unescaped.Length * 2));
        }

        try
        {
            utf8 = _unescaped.AsSpan(0, json.CopyString(_unescaped));
            return true;
        }
        catch (InvalidOperationException)
        {
            utf8 = default;
            return false;
        }
    }
}
