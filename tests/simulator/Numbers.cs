using System.Buffers.Binary;
using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>
/// Ids that carry where their owner is kept, so that finding it takes no table: a number that orders them (as the birth time of a real
/// one would) in the first bytes, a slot in the last.
/// </summary>
internal static class Numbers
{
    public static JobId Job(uint number, int slot) => new(Pack(number, slot));

    public static WorkerId Worker(uint life, int slot) => new(Pack((uint)slot, (int)life));

    public static TenantId Tenant(int number) => new(Pack((uint)number, 0));

    /// <summary>The number and the slot of a job's first chunk.</summary>
    public static (uint Number, int Slot) Of(JobId job) => Unpack(job.Value);

    /// <summary>The life and the slot of a worker.</summary>
    public static (uint Life, int Slot) Of(WorkerId worker)
    {
        var (slot, life) = Unpack(worker.Value);
        return ((uint)life, (int)slot);
    }

    private static Guid Pack(uint number, int slot)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, number);
        (bytes[7], bytes[8]) = (0x70, 0x80);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[12..], slot);
        return new Guid(bytes);
    }

    private static (uint Number, int Slot) Unpack(Guid id)
    {
        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes);
        return (BinaryPrimitives.ReadUInt32LittleEndian(bytes), BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]));
    }
}
