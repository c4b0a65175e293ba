using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Sla;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>What the body of a delivery is made of.</summary>
/// <param name="EventData">The event's data, a JSON object.</param>
/// <param name="Task">Of <c>task.completed</c>: how the task ended; null where its result is gone.</param>
internal sealed record PayloadSource(
    WebhookDeliveryId Delivery,
    string Type,
    JobId? Job,
    int? Seq,
    string EventData,
    DateTimeOffset EventAt,
    TaskEnd? Task
);

/// <summary>How a task ended, as far as a payload tells it.</summary>
internal sealed record TaskEnd(string CustomId, string Status, string? ErrorCode);

/// <summary>
/// Bodies: thin, with links to what they tell of. The same delivery has the same bytes at every attempt, since they are made of what was
/// stored with the event. Batches are told in OpenAI's form, everything else as <c>{id, type, timestamp, data}</c>.
/// </summary>
internal static class Payload
{
    private const string BatchPrefix = "batch.";

    /// <summary>The value of <c>webhook-id</c>, also the body's <c>id</c>.</summary>
    public static string IdOf(WebhookDeliveryId delivery) => $"evt_{delivery.Value:N}";

    /// <param name="publicAddress">Put before links, or empty.</param>
    public static byte[] Write(PayloadSource source, string publicAddress)
    {
        using var bytes = new MemoryStream(512);
        using (var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Encoder = ApiJson.Options.Encoder }))
        {
            json.WriteStartObject();
            json.WriteString("id", IdOf(source.Delivery));
            if (source.Type.StartsWith(BatchPrefix, StringComparison.Ordinal))
            {
                json.WriteString("object", "event");
                json.WriteNumber("created_at", source.EventAt.ToUnixTimeSeconds());
                json.WriteString("type", source.Type);
                json.WritePropertyName("data");
                json.WriteRawValue(source.EventData);
            }
            else
            {
                json.WriteString("type", source.Type);
                json.WriteString(
                    "timestamp",
                    source.EventAt.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture)
                );
                json.WriteStartObject("data");
                WriteData(json, source, publicAddress.TrimEnd('/'));
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        return bytes.ToArray();
    }

    private static void WriteData(Utf8JsonWriter json, PayloadSource source, string root)
    {
        if (source.Seq is { } seq)
        {
            json.WriteString("job", source.Job!.Value.Value);
            json.WriteNumber("seq", seq);
            json.WriteString("custom_id", source.Task?.CustomId);
            json.WriteString("status", source.Task?.Status);
            json.WriteString("error_code", source.Task?.ErrorCode);
        }
        else
        {
            using var data = JsonDocument.Parse(source.EventData);
            foreach (var member in data.RootElement.EnumerateObject())
            {
                member.WriteTo(json);
            }
        }

        if (source.Type == SlaReports.ReadyEvent)
        {
            using var data = JsonDocument.Parse(source.EventData);
            json.WriteStartObject("links");
            json.WriteString("self", $"{root}/v1/reports/{data.RootElement.GetProperty("report").GetString()}");
            json.WriteEndObject();
        }

        if (source.Job is { } job)
        {
            var self = $"{root}/v1/jobs/{job}";
            json.WriteStartObject("links");
            json.WriteString("self", self);
            json.WriteString("results", source.Seq is { } after and > 0 ? $"{self}/results?cursor={after - 1}&limit=1" : $"{self}/results");
            json.WriteEndObject();
        }
    }
}
