using System.Buffers.Binary;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Pipeline.Tests.Support.Telemetry;

/// <summary>A span as it was sent.</summary>
/// <param name="ParentId">Empty for the first of a trace.</param>
/// <param name="Links">Traces and spans it is linked to.</param>
internal sealed record SentSpan(
    string Service,
    string Scope,
    string Name,
    string TraceId,
    string SpanId,
    string ParentId,
    IReadOnlyDictionary<string, string> Attributes,
    IReadOnlyList<(string TraceId, string SpanId)> Links
);

/// <summary>A line of a log as it was sent.</summary>
internal sealed record SentLog(string Service, string Body, string TraceId);

/// <summary>Takes what services send by OTLP over HTTP, on loopback, and reads as much of it as tests look at.</summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly List<SentSpan> _spans = [];
    private readonly List<SentLog> _logs = [];
    private readonly HashSet<(string Service, string Metric)> _metrics = [];
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private WebApplication? _app;

    public Uri Address { get; private set; } = null!;

    /// <summary>What a process needs to send here: everything, soon.</summary>
    public IReadOnlyDictionary<string, string> Environment =>
        new Dictionary<string, string>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = Address.ToString(),
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "100",
            ["OTEL_BLRP_SCHEDULE_DELAY"] = "100",
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "1000",
        };

    public static async Task<OtlpReceiver> StartAsync()
    {
        var receiver = new OtlpReceiver();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        receiver._app = builder.Build();
        receiver._app.Run(receiver.TakeAsync);
        await receiver._app.StartAsync();
        receiver.Address = new Uri(receiver._app.Urls.First());
        return receiver;
    }

    /// <summary>Waits until what came satisfies <paramref name="enough"/>, and returns it.</summary>
    public async Task<T> UntilAsync<T>(Func<IReadOnlyList<SentSpan>, IReadOnlyList<SentLog>, T?> enough, string what, int secondsMax = 30)
        where T : class
    {
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(secondsMax));
        while (true)
        {
            Task more;
            lock (_lock)
            {
                if (enough(_spans, _logs) is { } found)
                {
                    return found;
                }

                more = _more.Task;
            }

            try
            {
                await more.WaitAsync(late.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"Within {secondsMax} s there came no {what}. Spans: {Told()}");
            }
        }
    }

    /// <summary>Waits until a service has sent a metric.</summary>
    public Task<string> UntilMetricAsync(string service, string metric) =>
        UntilAsync((_, _) => _metrics.Contains((service, metric)) ? metric : null, $"{metric} of {service}");

    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.DisposeAsync();
        }
    }

    private string Told()
    {
        lock (_lock)
        {
            return string.Join(", ", _spans.TakeLast(60).Select(span => $"{span.Service}/{span.Name} {span.TraceId[..6]}"));
        }
    }

    private async Task TakeAsync(HttpContext http)
    {
        using var body = new MemoryStream();
        await http.Request.Body.CopyToAsync(body);
        lock (_lock)
        {
            foreach (var resource in Fields(body.ToArray()))
            {
                Read(http.Request.Path, resource.Bytes);
            }

            _more.TrySetResult();
            _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    // The three messages have one shape: resource 1, then scopes 2, each with its scope 1 and what it has sent 2.
    private void Read(PathString path, ReadOnlyMemory<byte> resource)
    {
        var service = "";
        foreach (var field in Fields(resource))
        {
            if (field.Number == 1)
            {
                service = Fields(field.Bytes)
                    .Where(f => f.Number == 1)
                    .Select(Attribute)
                    .FirstOrDefault(a => a.Key == "service.name")
                    .Value;
            }
            else if (field.Number == 2)
            {
                var parts = Fields(field.Bytes).ToList();
                var scope = parts.Where(p => p.Number == 1).SelectMany(p => Fields(p.Bytes)).FirstOrDefault(f => f.Number == 1).Text;
                foreach (var sent in parts.Where(p => p.Number == 2))
                {
                    Read(path, service, scope, [.. Fields(sent.Bytes)]);
                }
            }
        }
    }

    private void Read(PathString path, string service, string scope, Field[] sent)
    {
        if (path == "/v1/traces")
        {
            var attributes = sent.Where(f => f.Number == 9).Select(Attribute).ToDictionary(a => a.Key, a => a.Value);
            var links = sent.Where(f => f.Number == 13)
                .Select(f => Fields(f.Bytes).ToArray())
                .Select(link => (Hex(link, 1), Hex(link, 2)))
                .ToArray();
            _spans.Add(new SentSpan(service, scope, Text(sent, 5), Hex(sent, 1), Hex(sent, 2), Hex(sent, 4), attributes, links));
        }
        else if (path == "/v1/metrics")
        {
            _metrics.Add((service, Text(sent, 1)));
        }
        else if (path == "/v1/logs")
        {
            var body = sent.Where(f => f.Number == 5).SelectMany(f => Fields(f.Bytes)).FirstOrDefault(f => f.Number == 1).Text;
            _logs.Add(new SentLog(service, body, Hex(sent, 9)));
        }
    }

    private static KeyValuePair<string, string> Attribute(Field attribute)
    {
        var parts = Fields(attribute.Bytes).ToArray();
        var value = Fields(parts.First(p => p.Number == 2).Bytes).FirstOrDefault();
        return new(
            Text(parts, 1),
            value.Number == 1 ? value.Text : value.Integer.ToString(System.Globalization.CultureInfo.InvariantCulture)
        );
    }

    private static string Text(Field[] fields, int number) => fields.FirstOrDefault(f => f.Number == number).Text;

    private static string Hex(Field[] fields, int number) =>
        Convert.ToHexStringLower(fields.FirstOrDefault(f => f.Number == number).Bytes.Span);

    /// <summary>A field of a protobuf message.</summary>
    private readonly record struct Field(int Number, ReadOnlyMemory<byte> Bytes, ulong Integer)
    {
        public string Text => Encoding.UTF8.GetString(Bytes.Span);
    }

    private static IEnumerable<Field> Fields(ReadOnlyMemory<byte> message)
    {
        for (var at = 0; at < message.Length; )
        {
            var key = Varint(message.Span, ref at);
            var number = (int)(key >> 3);
            switch (key & 7)
            {
                case 0:
                    yield return new Field(number, default, Varint(message.Span, ref at));
                    break;
                case 1:
                    yield return new Field(number, default, BinaryPrimitives.ReadUInt64LittleEndian(message.Span[at..]));
                    at += 8;
                    break;
                case 2:
                    var length = (int)Varint(message.Span, ref at);
                    yield return new Field(number, message.Slice(at, length), 0);
                    at += length;
                    break;
                case 5:
                    yield return new Field(number, default, BinaryPrimitives.ReadUInt32LittleEndian(message.Span[at..]));
                    at += 4;
                    break;
                default:
                    throw new FormatException($"Field {number} has wire type {key & 7}.");
            }
        }
    }

    private static ulong Varint(ReadOnlySpan<byte> bytes, ref int at)
    {
        var value = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            var next = bytes[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }
    }
}
