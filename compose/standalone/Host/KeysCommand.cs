using System.CommandLine;
using Npgsql;
using Pipeline.Migrations;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary><c>keys add</c>: issues API keys, for who has the database's connection.</summary>
internal static class KeysCommand
{
    private const int NameLengthMax = 100;

    public static Command Create()
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
        return new Command("keys", "Issue API keys (needs the database).") { add };
    }
}
