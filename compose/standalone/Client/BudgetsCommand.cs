using System.CommandLine;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>budgets</c>: what a tenant may be charged in a month: <c>show</c>, and <c>set</c> for operators.</summary>
internal static class BudgetsCommand
{
    public static Command Create(Connection connection) =>
        new("budgets", "What a tenant may be charged in a month: show it, or set it.") { CreateShow(connection), CreateSet(connection) };

    private static Command CreateShow(Connection connection)
    {
        var tenant = new Argument<string>("tenant") { Description = "The tenant's name" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("show", "Show a tenant's budget and what of this month is spent.") { tenant, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show(await client.GetBudgetAsync(parsed.GetValue(tenant)!, stop), parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateSet(Connection connection)
    {
        var tenant = new Argument<string>("tenant") { Description = "The tenant's name" };
        var usd = new Argument<string>("usd") { Description = "US dollars a calendar month (UTC)" };
        var warn = new Option<int[]>("--warn")
        {
            Description = "Percentages of it at which the tenant gets an event (default: 80 95)",
            AllowMultipleArgumentsPerToken = true,
        };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("set", "Set a tenant's budget (operators).") { tenant, usd, warn, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var name = parsed.GetValue(tenant)!;
                var budget = new { LimitUsd = parsed.GetValue(usd), WarnPercents = parsed.GetValue(warn) is { Length: > 0 } w ? w : null };
                await client.PutAsync<JsonElement>($"v1/tenants/{Uri.EscapeDataString(name)}/budget", budget, stop);
                Show(await client.GetBudgetAsync(name, stop), parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Show(JsonElement budget, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(budget, ApiJson.Options));
            return;
        }

        var limit = budget.GetProperty("limit_pico_usd");
        var has = limit.ValueKind == JsonValueKind.Number;
        PlainTable.Write(
            ["tenant", "a month", "month", "charged or promised", "warns at"],
            [
                [
                    budget.GetProperty("tenant").GetString()!,
                    has ? Cost.Format(limit.GetInt64()) : "(no limit)",
                    budget.GetProperty("month").GetString()!,
                    has ? Cost.Format((Int128)budget.GetProperty("spent_pico_usd").GetDecimal()) : "",
                    has ? string.Join(", ", budget.GetProperty("warn_percents").EnumerateArray().Select(p => $"{p.GetInt32()} %")) : "",
                ],
            ]
        );
    }
}
