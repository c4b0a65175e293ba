using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Body;

/// <summary>The members of a small JSON object that a request has as its body; what is wrong with them is collected.</summary>
internal sealed class BodyFields
{
    private readonly JsonElement _json;

    private BodyFields(JsonElement json, string[] names, Mistakes mistakes)
    {
        (_json, Mistakes) = (json, mistakes);
        foreach (var member in json.EnumerateObject().Where(m => !names.Contains(m.Name)))
        {
            mistakes.Add(member.Name, $"one of {string.Join(", ", names)}", "another member");
        }
    }

    public Mistakes Mistakes { get; }

    /// <summary>Reads a body; the problem to answer with where it is no JSON object.</summary>
    /// <param name="names">The members it may have.</param>
    public static async Task<(BodyFields? Fields, IResult? Problem)> ReadAsync(HttpContext http, int mistakesMax, params string[] names)
    {
        var mistakes = new Mistakes(mistakesMax);
        var (body, problem) = await ObjectBody.ReadAsync(http, mistakes);
        return body is { } json ? (new BodyFields(json, names, mistakes), null) : (null, problem);
    }

    public string? Text(string name)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            return value.GetString();
        }

        Mistakes.Add(name, "a string", Given(value));
        return null;
    }

    /// <summary>A flag that must be there.</summary>
    public bool Flag(string name)
    {
        if (Find(name) is { ValueKind: JsonValueKind.True or JsonValueKind.False } flag)
        {
            return flag.GetBoolean();
        }

        Mistakes.Add(name, "true or false", Find(name) is { } given ? Given(given) : "nothing");
        return false;
    }

    /// <summary>A number, or null where it is absent.</summary>
    public decimal? Number(string name, decimal most, int decimals)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (
            value.ValueKind == JsonValueKind.Number
            && value.TryGetDecimal(out var number)
            && Math.Abs(number) <= most
            && number == decimal.Round(number, decimals)
        )
        {
            return number;
        }

        Mistakes.Add(name, FormattableString.Invariant($"a number from -{most} to {most} with at most {decimals} decimals"), Given(value));
        return null;
    }

    /// <summary>Dollars as pico-dollars. Negative ones, and more than could be meant, are mistakes.</summary>
    public long Usd(string name, long picoMax, string of)
    {
        var text = Find(name) switch
        {
            { ValueKind: JsonValueKind.Number } number => number.GetRawText(),
            { ValueKind: JsonValueKind.String } word => word.GetString(),
            _ => null,
        };
        if (
            decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var usd)
            && usd >= 0
            && usd <= (decimal)picoMax / Cost.PicoPerUsd
            && decimal.Truncate(usd * Cost.PicoPerUsd) == usd * Cost.PicoPerUsd
        )
        {
            return (long)(usd * Cost.PicoPerUsd);
        }

        var most = ((decimal)picoMax / Cost.PicoPerUsd).ToString("0", CultureInfo.InvariantCulture);
        Mistakes.Add(
            name,
            $"US dollars {of}, 0 to {most} (more is a slip of the unit), with at most 12 decimals",
            Find(name) is { } given ? Given(given) : "nothing"
        );
        return 0;
    }

    public DateTimeOffset Moment(string name, DateTimeOffset soonest)
    {
        if (Find(name) is null)
        {
            // A little later than the soonest, which the server's clock decides on.
            return soonest + TimeSpan.FromSeconds(5);
        }

        var text = Text(name);
        var latest = new DateTimeOffset(2200, 1, 1, 0, 0, 0, TimeSpan.Zero);
        if (DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var moment) && moment < latest)
        {
            return moment.ToUniversalTime();
        }

        Mistakes.Add(name, "a time as in RFC 3339 (2026-01-02T03:04:05Z), before the year 2200", $"\"{Excerpt.Of(text ?? "")}\"");
        return soonest;
    }

    /// <summary>A whole number of this range; null where none was given.</summary>
    public long? Whole(string name, long min, long max)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var whole) && whole >= min && whole <= max)
        {
            return whole;
        }

        Mistakes.Add(name, $"a whole number, {min} to {max}", Given(value));
        return null;
    }

    /// <summary>A time like <c>90s</c> or <c>1h30m</c>.</summary>
    public TimeSpan Duration(string name, TimeSpan min, TimeSpan max)
    {
        if (
            Find(name) is { ValueKind: JsonValueKind.String } text
            && Durations.TryParse(text.GetString()!, out var duration)
            && duration >= min
            && duration <= max
        )
        {
            return duration;
        }

        var expected = $"a time like 90s, 30m, 24h or 7d, of {min.TotalSeconds:0} s to {max.TotalDays:0} days";
        Mistakes.Add(name, expected, Find(name) is { } given ? Given(given) : "nothing");
        return default;
    }

    public void Currency(string name)
    {
        if (Find(name) is not null && Text(name) is var currency && currency != Prices.Currency)
        {
            Mistakes.Add(name, "USD: all amounts are US dollars", $"\"{Excerpt.Of(currency ?? "")}\"");
        }
    }

    public int[]? Percents(string name)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(p => p.ValueKind == JsonValueKind.Number))
        {
            var percents = value.EnumerateArray().Select(p => p.TryGetInt32(out var percent) ? percent : 0).ToArray();
            if (percents.Length <= 100 && Array.TrueForAll(percents, p => p is >= 1 and <= 100))
            {
                return percents;
            }
        }

        Mistakes.Add(name, "at most 100 whole numbers from 1 to 100", Given(value));
        return null;
    }

    private JsonElement? Find(string name) =>
        _json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static string Given(JsonElement value) => Excerpt.Of(value.GetRawText());
}
