using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>A typed id over a UUIDv7 (RFC 9562, section 5.7): sortable by time of birth, so a day is a range of ids.</summary>
public interface IEntityId<TSelf>
    where TSelf : struct, IEntityId<TSelf>
{
    Guid Value { get; }

    static abstract TSelf From(Guid value);
}

/// <summary>Names a job.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<JobId>))]
public readonly record struct JobId(Guid Value) : IEntityId<JobId>, IComparable<JobId>
{
    public static JobId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static JobId From(Guid value) => new(value);

    public static bool TryParse(string? text, out JobId id)
    {
        var ok = Guid.TryParse(text, out var value);
        id = new JobId(value);
        return ok;
    }

    /// <summary>Big-endian order of the bytes, as PostgreSQL orders <c>uuid</c>.</summary>
    public int CompareTo(JobId other) => Value.CompareTo(other.Value);

    public override string ToString() => Value.ToString();

    public static bool operator <(JobId left, JobId right) => left.CompareTo(right) < 0;

    public static bool operator >(JobId left, JobId right) => left.CompareTo(right) > 0;

    public static bool operator <=(JobId left, JobId right) => left.CompareTo(right) <= 0;

    public static bool operator >=(JobId left, JobId right) => left.CompareTo(right) >= 0;
}

/// <summary>Names a tenant.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<TenantId>))]
public readonly record struct TenantId(Guid Value) : IEntityId<TenantId>
{
    public static TenantId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static TenantId From(Guid value) => new(value);

    public override string ToString() => Value.ToString();
}

/// <summary>Names a file that a client uploaded or that a job's results were written to; shown as <c>file-</c> and 32 hex digits.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<FileId>))]
public readonly record struct FileId(Guid Value) : IEntityId<FileId>
{
    private const string Prefix = "file-";

    public static FileId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static FileId From(Guid value) => new(value);

    /// <summary>Reads the form the API shows.</summary>
    public static bool TryParse(string? text, out FileId id)
    {
        var value = Guid.Empty;
        var ok = text?.StartsWith(Prefix, StringComparison.Ordinal) == true && Guid.TryParseExact(text[Prefix.Length..], "N", out value);
        id = new FileId(value);
        return ok;
    }

    public override string ToString() => $"{Prefix}{Value:N}";
}

/// <summary>Names a dispatch: what the scheduler sends to a worker.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<DispatchId>))]
public readonly record struct DispatchId(Guid Value) : IEntityId<DispatchId>
{
    public static DispatchId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static DispatchId From(Guid value) => new(value);

    public override string ToString() => Value.ToString();
}

/// <summary>Names a batch: the tasks of one device call.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<BatchId>))]
public readonly record struct BatchId(Guid Value) : IEntityId<BatchId>
{
    public static BatchId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static BatchId From(Guid value) => new(value);

    public override string ToString() => Value.ToString();
}

/// <summary>Names one life of a worker process; a restarted process has another.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<WorkerId>))]
public readonly record struct WorkerId(Guid Value) : IEntityId<WorkerId>, IComparable<WorkerId>
{
    public static WorkerId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static WorkerId From(Guid value) => new(value);

    public int CompareTo(WorkerId other) => Value.CompareTo(other.Value);

    public override string ToString() => Value.ToString();

    public static bool operator <(WorkerId left, WorkerId right) => left.CompareTo(right) < 0;

    public static bool operator >(WorkerId left, WorkerId right) => left.CompareTo(right) > 0;

    public static bool operator <=(WorkerId left, WorkerId right) => left.CompareTo(right) <= 0;

    public static bool operator >=(WorkerId left, WorkerId right) => left.CompareTo(right) >= 0;
}

/// <summary>Names a webhook endpoint: an address of a tenant that is told of events.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<WebhookEndpointId>))]
public readonly record struct WebhookEndpointId(Guid Value) : IEntityId<WebhookEndpointId>
{
    public static WebhookEndpointId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static WebhookEndpointId From(Guid value) => new(value);

    public override string ToString() => Value.ToString();
}

/// <summary>Names a webhook delivery: one event on its way to one address.</summary>
[JsonConverter(typeof(EntityIdJsonConverter<WebhookDeliveryId>))]
public readonly record struct WebhookDeliveryId(Guid Value) : IEntityId<WebhookDeliveryId>
{
    public static WebhookDeliveryId New(DateTimeOffset now) => new(Guid.CreateVersion7(now));

    public static WebhookDeliveryId From(Guid value) => new(value);

    public override string ToString() => Value.ToString();
}

/// <summary>Names a chunk: the <paramref name="No"/>-th run of tasks of a job, counted from 0.</summary>
public readonly record struct ChunkKey(JobId Job, int No) : IComparable<ChunkKey>
{
    public int CompareTo(ChunkKey other) => Job.CompareTo(other.Job) is var byJob and not 0 ? byJob : No.CompareTo(other.No);

    public override string ToString() => $"{Job}/{No}";

    public static bool operator <(ChunkKey left, ChunkKey right) => left.CompareTo(right) < 0;

    public static bool operator >(ChunkKey left, ChunkKey right) => left.CompareTo(right) > 0;

    public static bool operator <=(ChunkKey left, ChunkKey right) => left.CompareTo(right) <= 0;

    public static bool operator >=(ChunkKey left, ChunkKey right) => left.CompareTo(right) >= 0;
}

/// <summary>A model version as written everywhere: <c>name@version</c>.</summary>
[JsonConverter(typeof(ModelRefJsonConverter))]
public readonly record struct ModelRef(string Name, string Version)
{
    public override string ToString() => $"{Name}@{Version}";

    /// <exception cref="FormatException">The text has no <c>@</c> between a name and a version.</exception>
    public static ModelRef Parse(string text)
    {
        var at = text.IndexOf('@', StringComparison.Ordinal);
        return at > 0 && at < text.Length - 1
            ? new ModelRef(text[..at], text[(at + 1)..])
            : throw new FormatException($"Expected a model as name@version, given \"{text}\".");
    }
}

/// <summary>Writes an id as its UUID string.</summary>
public sealed class EntityIdJsonConverter<T> : JsonConverter<T>
    where T : struct, IEntityId<T>
{
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => T.From(reader.GetGuid());

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(value.Value);

    /// <summary>An id as the key of a dictionary.</summary>
    public override T ReadAsPropertyName(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        T.From(Guid.Parse(reader.GetString() ?? ""));

    public override void WriteAsPropertyName(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        writer.WritePropertyName(value.Value.ToString());
}

/// <summary>Writes a model reference as <c>name@version</c>.</summary>
public sealed class ModelRefJsonConverter : JsonConverter<ModelRef>
{
    public override ModelRef Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        ModelRef.Parse(reader.GetString() ?? "");

    public override void Write(Utf8JsonWriter writer, ModelRef value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}
