using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>
/// SHA-256 over what a report is made of, value after value in a fixed order; every text and run of bytes is preceded by its length, so no
/// two sources write the same.
/// </summary>
internal sealed class SourceHash : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly byte[] _number = new byte[8];

    public SourceHash Add(long number)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_number, number);
        _hash.AppendData(_number);
        return this;
    }

    public SourceHash Add(ReadOnlySpan<byte> bytes)
    {
        Add(bytes.Length);
        _hash.AppendData(bytes);
        return this;
    }

    public SourceHash Add(string? text) => text is null ? Add(-1) : Add(Encoding.UTF8.GetBytes(text));

    public SourceHash Add(DateTimeOffset at) => Add(at.UtcTicks);

    public SourceHash Add(Guid id) => Add(id.ToByteArray());

    /// <summary>A row of the tables of sums, as it is stored.</summary>
    public void Add(DateTimeOffset at, SlaKey key, SlaRowReader row)
    {
        Add(at).Add(key.Tenant.Value).Add((long)key.Class).Add(key.Model);
        foreach (var count in SlaSums.Counts)
        {
            Add(row[count]);
        }

        for (var i = 0; i < SlaSums.Times.Count; i++)
        {
            Add(row.Bytes(i));
        }
    }

    /// <returns>Lower-case hexadecimal digits.</returns>
    public string Finish() => Convert.ToHexStringLower(_hash.GetHashAndReset());

    public void Dispose() => _hash.Dispose();
}
