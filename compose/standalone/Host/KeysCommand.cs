using System.CommandLine;
using System.Text.Json;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary>
/// <c>keys</c>: lists a tenant's; <c>add</c> issues one, for who has the database's connection; <c>limit</c> says what one may ask, for operators.
/// </summary>
internal static class KeysCommand
{
    private const int NameLengthMax = 100;

    public static Command Create(Connection connection)
    {
        var tenant = new Argument<string>("tenant") { Description = "The tenant's name", DefaultValueFactory = _ => "default" };
        var json = Listing.Json();
        var command = new Command("keys", "List a tenant's API keys, as they are told apart; add (issue one), limit.")
        {
            tenant,
            json,
            CreateAdd(),
            CreateLimit(connection),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var keys = (await client.ListAsync($"tenants/{Uri.EscapeDataString(parsed.GetValue(tenant)!)}/keys", stop)).Data;
                Listing.Show(
                    keys,
                    parsed.GetValue(json),
                    ["prefix", "name", "operator", "created_at", "revoked_at", "rate_per_second", "burst_max", "concurrent_max"]
                );
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateAdd()
    {
        var name = new Argument<string>("name") { Description = "What to call the key, to tell it from others" };
        var tenant = new Option<string>("--tenant")
        {
            Description = "Whose key it is; made when there is none of this name",
            DefaultValueFactory = _ => "default",
        };
        var isOperator = new Option<bool>("--operator")
        {
            Description = "For who runs the service: sees what work costs, sets prices, budgets and routes",
        };
        var data = new Option<string>("--data")
        {
            Description = "Data folder of the host started with up",
            DefaultValueFactory = _ => HostRecord.DefaultFolder,
        };
        var database = new Option<string?>("--database")
        {
            Description = "Connection string (default: PIPELINE__DATABASE, or the running host's)",
        };
        var add = new Command("add", "Issue an API key and print it: once, since only its hash is stored.")
        {
            name,
            tenant,
            isOperator,
            data,
            database,
        };
        add.Validators.Add(result =>
        {
            foreach (var (what, given) in new[] { ("name", result.GetValue(name)), ("--tenant", result.GetValue(tenant)) })
            {
                if (given is not null && (given.Trim().Length == 0 || given.Length > NameLengthMax))
                {
                    result.AddError($"{what}: expected a name of 1 to {NameLengthMax} characters, given \"{given}\".");
                }
            }
        });
        add.SetAction(
            async (parsed, stop) =>
            {
                await using var storage = NpgsqlDataSource.Create(GivenServers.Database(parsed.GetValue(database), parsed.GetValue(data)!));
                var owner = await Tenants.EnsureAsync(storage, parsed.GetValue(tenant)!, stop);
                Console.WriteLine(await ApiKeyIssuer.IssueAsync(storage, owner, parsed.GetValue(name)!, parsed.GetValue(isOperator), stop));
                return ExitCode.Ok;
            }
        );
        return add;
    }

    private static Command CreateLimit(Connection connection)
    {
        var tenant = new Argument<string>("tenant") { Description = "The tenant's name" };
        var key = new Argument<string>("key") { Description = $"The key's first {ApiKeyIssuer.PrefixLength} characters" };
        var rate = new Option<int?>("--rate") { Description = "Requests a second" };
        var burst = new Option<int?>("--burst")
        {
            Description = "Requests at once after a pause (left out beside --rate: as many seconds' worth as the options have)",
        };
        var concurrent = new Option<int?>("--concurrent") { Description = "Requests at the same time" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command(
            "limit",
            "Set what a key may ask of the express path, in each instance of ingest (operators). What is not given is as ingest's options say."
        )
        {
            tenant,
            key,
            rate,
            burst,
            concurrent,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var (of, which) = (Uri.EscapeDataString(parsed.GetValue(tenant)!), Uri.EscapeDataString(parsed.GetValue(key)!));
                var limits = new
                {
                    RatePerSecond = parsed.GetValue(rate),
                    BurstMax = parsed.GetValue(burst),
                    ConcurrentMax = parsed.GetValue(concurrent),
                };
                Show(await client.PutAsync<JsonElement>($"v1/tenants/{of}/keys/{which}/limits", limits, stop), parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Show(JsonElement kept, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(kept, ApiJson.Options));
            return;
        }

        PlainTable.Write(
            ["tenant", "key", "a second", "at once", "at the same time"],
            [
                [Text("tenant"), $"{Text("key")}…", Text("rate_per_second"), Text("burst_max"), Text("concurrent_max")],
            ]
        );

        string Text(string name) => kept.GetProperty(name) is { ValueKind: not JsonValueKind.Null } value ? value.ToString() : "(default)";
    }
}
