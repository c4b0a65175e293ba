using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// A journal's lines as JSON, one object each:
/// <code>
/// {"journal":1,"program":"0.1.0","started":639…,"epoch":7,"options":{…}}
/// {"t":639…,"fact":"chunk_arrived","data":{"chunk":{…}}}
/// {"t":639…,"plan":2,"hash":"0123456789abcdef"}
/// {"t":639…,"end":"…"}
/// </code>
/// Every number comes back as it was: times to the tick, floating point to the bit.
/// </summary>
internal static class JournalForm
{
    public const int Version = 1;

    public static string Program { get; } = typeof(JournalForm).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    internal static JsonSerializerOptions Json { get; } = CreateOptions();

    public static void Write(Utf8JsonWriter json, JournalHead head)
    {
        json.WriteStartObject();
        json.WriteNumber("journal", Version);
        json.WriteString("program", head.Program);
        json.WriteNumber("started", head.Started);
        json.WriteNumber("epoch", head.Epoch);
        json.WritePropertyName("options");
        JsonSerializer.Serialize(json, head.Options, Json);
        json.WriteEndObject();
    }

    /// <exception cref="JournalException">The fact has no form in the journal.</exception>
    public static void Write(Utf8JsonWriter json, JournalLine line)
    {
        json.WriteStartObject();
        json.WriteNumber("t", line.Ticks);
        switch (line)
        {
            case JournalFact { Fact: var fact }:
                json.WriteString(
                    "fact",
                    JournalNames.Of(fact) ?? throw new JournalException($"{fact.GetType().Name} has no form in a journal.")
                );
                json.WritePropertyName("data");
                JsonSerializer.Serialize(json, fact, fact.GetType(), Json);
                break;
            case JournalPlan plan:
                json.WriteNumber("plan", plan.Decisions);
                if (plan.Hash is { } hash)
                {
                    json.WriteString("hash", TraceHash.Text(hash));
                }

                break;
            case JournalEnd end:
                json.WriteString("end", end.Reason);
                break;
        }

        json.WriteEndObject();
    }

    /// <exception cref="JournalException">The line is no head, or one of another version.</exception>
    public static JournalHead ReadHead(ReadOnlyMemory<byte> utf8)
    {
        using var document = Parse(utf8);
        var line = document.RootElement;
        if (line.ValueKind != JsonValueKind.Object || !line.TryGetProperty("journal", out var version))
        {
            throw Expected("journal", "the first line of a journal, with the version of its form", line);
        }

        if (version.ValueKind != JsonValueKind.Number || !version.TryGetInt32(out var number) || number != Version)
        {
            throw Expected("journal", $"version {Version} of the form; replay it with the program that wrote it", version);
        }

        var program = Text(line, "program");
        var options = Data<PolicyOptions>(line, "options", typeof(PolicyOptions));
        return new JournalHead(program, Ticks(line, "started"), Whole(line, "epoch"), options);
    }

    /// <exception cref="JournalException">The line cannot be read.</exception>
    public static JournalLine Read(ReadOnlyMemory<byte> utf8)
    {
        using var document = Parse(utf8);
        var line = document.RootElement;
        var ticks = Ticks(line, "t");
        if (line.TryGetProperty("fact", out _))
        {
            var name = Text(line, "fact");
            var type =
                JournalNames.FactOf(name)
                ?? throw new JournalException(
                    $"field \"fact\": expected a kind of fact that version {Program} knows, given \"{name}\". "
                        + "The first line names the version that wrote the journal; replay it with that one."
                );
            return new JournalFact(ticks, Data<Fact>(line, "data", type));
        }

        if (line.TryGetProperty("plan", out _))
        {
            var decisions = Whole(line, "plan");
            return decisions is >= 0 and <= int.MaxValue
                ? new JournalPlan(ticks, (int)decisions, Hash(line))
                : throw Expected("plan", "a count of decisions", line.GetProperty("plan"));
        }

        return line.TryGetProperty("end", out _)
            ? new JournalEnd(ticks, Text(line, "end"))
            : throw Expected("fact", "\"fact\", \"plan\" or \"end\"", line);
    }

    private static JsonDocument Parse(ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return JsonDocument.Parse(utf8);
        }
        catch (JsonException e)
        {
            throw new JournalException($"expected a JSON object, given something else: {e.Message}", e);
        }
    }

    private static T Data<T>(JsonElement line, string field, Type type)
    {
        var data = Member(line, field, JsonValueKind.Object, "an object");
        try
        {
            return (T)data.Deserialize(type, Json)!;
        }
        catch (JsonException e)
        {
            throw new JournalException(Explain(field, data, e), e);
        }
        catch (Exception e) when (e is FormatException or NotSupportedException or ArgumentException)
        {
            throw new JournalException($"field \"{field}\": {e.Message}", e);
        }
    }

    /// <summary>Names the field by its path, and shows what stands there.</summary>
    private static string Explain(string field, JsonElement data, JsonException e)
    {
        var (path, given) = (field, data);
        foreach (var step in (e.Path ?? "$").TrimStart('$').Split(['.', '[', ']'], StringSplitOptions.RemoveEmptyEntries))
        {
            path += $".{step}";
            given =
                given.ValueKind == JsonValueKind.Object && given.TryGetProperty(step, out var member) ? member
                : given.ValueKind == JsonValueKind.Array
                && int.TryParse(step, NumberStyles.None, CultureInfo.InvariantCulture, out var at)
                && at < given.GetArrayLength()
                    ? given[at]
                : given;
        }

        var what = e.Message.Split(" Path: ")[0];
        return $"field \"{path}\": expected what version {Program} writes there, given {Show(given)}. {what}";
    }

    private static string Text(JsonElement line, string field) => Member(line, field, JsonValueKind.String, "text").GetString()!;

    private static long Whole(JsonElement line, string field)
    {
        var number = Member(line, field, JsonValueKind.Number, "a whole number");
        return number.TryGetInt64(out var value) ? value : throw Expected(field, "a whole number", number);
    }

    private static long Ticks(JsonElement line, string field) =>
        Whole(line, field) is var ticks && ticks >= 0 && ticks <= DateTimeOffset.MaxValue.UtcTicks
            ? ticks
            : throw Expected(field, "UTC ticks of a time between the years 1 and 9999", line.GetProperty(field));

    private static ulong? Hash(JsonElement line) =>
        !line.TryGetProperty("hash", out var hash) ? null
        : hash.ValueKind == JsonValueKind.String
        && ulong.TryParse(hash.GetString(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            ? value
        : throw Expected("hash", "16 hexadecimal digits", hash);

    private static JsonElement Member(JsonElement line, string field, JsonValueKind kind, string expected) =>
        line.ValueKind == JsonValueKind.Object && line.TryGetProperty(field, out var member)
            ? member.ValueKind == kind
                ? member
                : throw Expected(field, expected, member)
            : throw Expected(field, expected, line);

    private static JournalException Expected(string field, string expected, JsonElement given) =>
        new($"field \"{field}\": expected {expected}, given {Show(given)}");

    private static string Show(JsonElement given)
    {
        const int lettersMax = 80;
        var text = given.GetRawText();
        return text.Length <= lettersMax ? text : $"{text[..lettersMax]}…";
    }

    private static JsonSerializerOptions CreateOptions()
    {
        var options = new JsonSerializerOptions
        {
            PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
            IgnoreReadOnlyProperties = true,
            NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
            RespectNullableAnnotations = true,
            RespectRequiredConstructorParameters = true,
            // What this version does not know could have changed a decision: better to say so than to replay something else.
            UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
            TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { RequireAllOfStructs } },
            Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower), new DecisionConverter(), new SuspectConverter() },
        };
        options.MakeReadOnly();
        return options;
    }

    /// <summary>Structs are made without their constructors, so what is missing would silently be zero.</summary>
    private static void RequireAllOfStructs(JsonTypeInfo type)
    {
        if (type.Kind == JsonTypeInfoKind.Object && (type.Type == typeof(ChunkHeader) || type.Type == typeof(ChunkKey)))
        {
            foreach (var property in type.Properties.Where(p => p.Set is not null))
            {
                property.IsRequired = true;
            }
        }
    }

    /// <summary>A decision inside a fact: <c>{"decision":"end_chunks","data":{…}}</c>.</summary>
    private sealed class DecisionConverter : JsonConverter<Decision>
    {
        public override Decision Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            using var document = JsonDocument.ParseValue(ref reader);
            var name = Text(document.RootElement, "decision");
            var type =
                JournalNames.DecisionOf(name)
                ?? throw Expected("decision", "a kind of decision that this version knows", document.RootElement);
            return Data<Decision>(document.RootElement, "data", type);
        }

        public override void Write(Utf8JsonWriter writer, Decision value, JsonSerializerOptions options)
        {
            writer.WriteStartObject();
            writer.WriteString(
                "decision",
                JournalNames.Of(value) ?? throw new JournalException($"{value.GetType().Name} has no form in a journal.")
            );
            writer.WritePropertyName("data");
            JsonSerializer.Serialize(writer, value, value.GetType(), options);
            writer.WriteEndObject();
        }
    }

    /// <summary>A suspect and its attempts: <c>{"chunk":{…},"attempts":1}</c>.</summary>
    private sealed class SuspectConverter : JsonConverter<(ChunkKey Chunk, int Attempts)>
    {
        public override (ChunkKey Chunk, int Attempts) Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var suspect = JsonSerializer.Deserialize<Suspect>(ref reader, options)!;
            return (suspect.Chunk, suspect.Attempts);
        }

        public override void Write(Utf8JsonWriter writer, (ChunkKey Chunk, int Attempts) value, JsonSerializerOptions options) =>
            JsonSerializer.Serialize(writer, new Suspect(value.Chunk, value.Attempts), options);

        private sealed record Suspect(ChunkKey Chunk, int Attempts);
    }
}
