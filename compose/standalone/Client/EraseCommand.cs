using System.CommandLine;
using System.Text.Json;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>erase</c>: removes what a job, or a tenant, has left, and waits until it is gone. Its counts and costs stay.</summary>
internal static class EraseCommand
{
    private static readonly TimeSpan LookPause = TimeSpan.FromMilliseconds(200);

    public static Command Create(Connection connection)
    {
        var job = new Argument<string?>("job") { Description = "The job's id", Arity = ArgumentArity.ZeroOrOne };
        var tenant = new Option<string?>("--tenant") { Description = "A tenant's name: all of its data up to now (operators)" };
        var reason = new Option<string>("--reason")
        {
            Description = "Why; it is kept as the record",
            DefaultValueFactory = _ => "asked for on the command line",
        };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("erase", "Erase the data of a job, or of a tenant. Counts and costs stay.") { job, tenant, reason, json };
        connection.AddTo(command);
        command.Validators.Add(given =>
        {
            if ((given.GetValue(job) is null) == (given.GetValue(tenant) is null))
            {
                given.AddError("Expected a job's id, or --tenant with a tenant's name.");
            }
        });
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var body = new
                {
                    job = parsed.GetValue(job),
                    tenant = parsed.GetValue(tenant),
                    reason = parsed.GetValue(reason),
                };
                var erasure = await client.PostAsync("erasures", body, stop);
                while (erasure.GetProperty("state").GetString() != "finished")
                {
                    await Task.Delay(LookPause, stop);
                    erasure = await client.FindAsync($"erasures/{erasure.GetProperty("id").GetString()}", stop);
                }

                Console.WriteLine(
                    parsed.GetValue(json)
                        ? JsonSerializer.Serialize(erasure, ApiJson.Options)
                        : $"Erased: jobs {erasure.GetProperty("jobs")}, rows {erasure.GetProperty("rows_removed")} (erasure {erasure.GetProperty("id")})."
                );
                return ExitCode.Ok;
            }
        );
        return command;
    }
}
