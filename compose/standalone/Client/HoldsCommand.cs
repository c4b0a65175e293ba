using System.CommandLine;
using System.Text.Json;

namespace Pipeline.Standalone.Client;

/// <summary><c>holds</c>: what operators hold: models, tenants, pools, workers; <c>set</c> and <c>remove</c>.</summary>
internal static class HoldsCommand
{
    public static Command Create(Connection connection)
    {
        var json = Listing.Json();
        var command = new Command("holds", "List what is held: nothing more is sent of it, or to it (operators); set, remove.")
        {
            json,
            CreateSet(connection),
            CreateRemove(connection),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var holds = (await client.ListAsync("holds", stop)).Data;
                Listing.Show(holds, parsed.GetValue(json), ["kind", "name", "reason", "by", "at"]);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateSet(Connection connection)
    {
        var (kind, name) = (Kind(), Name());
        var reason = new Argument<string>("reason") { Description = "Why" };
        var command = new Command("set", "Hold a model, a tenant, a pool, or drain a worker. What was sent ends.") { kind, name, reason };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var hold = new { Reason = parsed.GetValue(reason), By = Environment.UserName };
                Listing.Tell(await client.PutAsync<JsonElement>($"v1/{Path(parsed.GetValue(kind)!, parsed.GetValue(name)!)}", hold, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateRemove(Connection connection)
    {
        var (kind, name) = (Kind(), Name());
        var command = new Command("remove", "Let it go on.") { kind, name };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                await client.DeleteAsync(Path(parsed.GetValue(kind)!, parsed.GetValue(name)!), stop);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Argument<string> Kind() => new("kind") { Description = "model, tenant, pool or worker" };

    private static Argument<string> Name() => new("name") { Description = "The name; of a worker the id" };

    private static string Path(string kind, string name) => $"holds/{Uri.EscapeDataString(kind)}/{Uri.EscapeDataString(name)}";
}
