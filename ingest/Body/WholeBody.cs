namespace Pipeline.Ingest.Body;

/// <summary>Reads a small body as a whole.</summary>
internal static class WholeBody
{
    private const int BytesFirst = 4 * 1024;

    /// <returns>The bytes, or null when there are more than allowed; then the rest is not read.</returns>
    public static async ValueTask<ReadOnlyMemory<byte>?> ReadAsync(Stream body, int bytesMax, CancellationToken stop)
    {
        var bytes = GC.AllocateUninitializedArray<byte>(Math.Min(BytesFirst, bytesMax + 1));
        var end = 0;
        while (await body.ReadAsync(bytes.AsMemory(end), stop) is var read and > 0)
        {
            end += read;
            if (end > bytesMax)
            {
                return null;
            }

            if (end == bytes.Length)
            {
                Array.Resize(ref bytes, (int)Math.Min(bytes.Length * 4L, bytesMax + 1L));
            }
        }

        return bytes.AsMemory(0, end);
    }
}
