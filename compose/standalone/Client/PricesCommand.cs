using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>prices</c>: what a million units are charged: <c>list</c>, and <c>set</c> for operators.</summary>
internal static class PricesCommand
{
    public static Command Create(Connection connection)
    {
        var command = AsList(connection, new("prices", "What work is charged: list the prices, or set one."));
        command.Add(AsList(connection, new("list", "List the prices, the last one set first.")));
        command.Add(CreateSet(connection));
        return command;
    }

    private static Command AsList(Connection connection, Command command)
    {
        var limit = new Option<int>("--limit", "-n") { Description = "How many, the last one set first", DefaultValueFactory = _ => 20 };
        var json = new Option<bool>("--json") { Description = "Print JSON, one object a line" };
        command.Add(limit);
        command.Add(json);
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show((await client.ListPricesAsync(parsed.GetValue(limit), stop)).Data, parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateSet(Connection connection)
    {
        var latencyClass = new Argument<string>("class") { Description = "express, standard or bulk" };
        var usd = new Argument<string>("usd") { Description = "US dollars of a million units" };
        var model = new Option<string?>("--model", "-m") { Description = "For this model alone (default: every one without its own)" };
        var validFrom = new Option<string?>("--valid-from") { Description = "From when on, RFC 3339 (default: in a minute)" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("set", "Set a price from a moment on (operators). Accepted jobs keep theirs.")
        {
            latencyClass,
            usd,
            model,
            validFrom,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var price = new
                {
                    Class = parsed.GetValue(latencyClass),
                    Model = parsed.GetValue(model),
                    PricePerMillionUnitsUsd = parsed.GetValue(usd),
                    ValidFrom = parsed.GetValue(validFrom),
                };
                Show([await client.PutAsync<JsonElement>("v1/prices", price, stop)], parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Show(IReadOnlyList<JsonElement> prices, bool json)
    {
        if (json)
        {
            foreach (var price in prices)
            {
                Console.WriteLine(JsonSerializer.Serialize(price, ApiJson.Options));
            }

            return;
        }

        PlainTable.Write(
            ["class", "model", "a million units", "valid from"],
            prices.Select(price =>
                new[]
                {
                    price.GetProperty("class").GetString()!,
                    price.GetProperty("model").GetString() ?? "(any)",
                    Cost.Format(price.GetProperty("price_per_million_units_pico_usd").GetInt64()),
                    price.GetProperty("valid_from").GetDateTimeOffset().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture),
                }
            )
        );
    }
}
