using System.CommandLine;
using Pipeline.Hosting;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary><c>up</c>: starts the system and stays until Ctrl-C or <c>down</c>.</summary>
internal static class UpCommand
{
    public const int DefaultPort = 5320;

    public static Command Create()
    {
        var data = new Option<string>("--data")
        {
            Description = "Folder for PostgreSQL, models and logs",
            DefaultValueFactory = _ => HostRecord.DefaultFolder,
        };
        var port = new Option<int>("--port")
        {
            Description = "Port of the API; another is taken when it is in use",
            DefaultValueFactory = _ => DefaultPort,
        };
        var database = new Option<string?>("--database")
        {
            Description = "A PostgreSQL to use instead of the private one: \"Host=…;Username=…;Password=…;Database=…\"",
        };
        var broker = new Option<string?>("--broker")
        {
            Description = "A RabbitMQ to use instead of the in-memory transport: amqp://user:password@host:5672/vhost",
        };
        var services = new Option<bool>("--services") { Description = "Run the four services as separate processes (needs --broker)" };
        var webhooks = new Option<string[]>("--webhooks-allow")
        {
            Description = "Networks that webhooks may call beside the public internet, over http too, e.g. 127.0.0.0/8",
            AllowMultipleArgumentsPerToken = true,
        };
        var command = new Command(
            "up",
            "Start everything in one process, with a private PostgreSQL in the data folder. Ctrl-C stops it cleanly."
        )
        {
            data,
            port,
            database,
            broker,
            services,
            webhooks,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(services) && result.GetValue(broker) is null)
            {
                result.AddError("--services needs --broker: separate processes cannot share the in-memory transport.");
            }
        });
        command.SetAction(
            (parsed, stop) =>
                HostRun.RunAsync(
                    new HostSettings
                    {
                        DataFolder = Path.GetFullPath(parsed.GetValue(data)!),
                        Port = parsed.GetValue(port),
                        Database = parsed.GetValue(database),
                        Broker = parsed.GetValue(broker) ?? PipelineOptions.InMemoryBroker,
                        SeparateProcesses = parsed.GetValue(services),
                        WebhooksAllow = parsed.GetValue(webhooks) ?? [],
                    },
                    started: HostRun.TellHowToUse,
                    stop
                )
        );
        return command;
    }
}

/// <summary><c>down</c>: stops the host of a data folder and waits until it is gone.</summary>
internal static class DownCommand
{
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(60);

    public static Command Create()
    {
        var data = new Option<string>("--data")
        {
            Description = "Data folder of the host",
            DefaultValueFactory = _ => HostRecord.DefaultFolder,
        };
        var command = new Command("down", "Stop what up started: the batch on the device is finished, nothing is lost.") { data };
        command.SetAction(
            async (parsed, stop) =>
            {
                var record = HostRecord.Find(parsed.GetValue(data)!);
                if (record is null || !record.IsAlive)
                {
                    Console.WriteLine("Nothing is running.");
                    return ExitCode.Ok;
                }

                if (!await HostRun.StopAsync(record, WaitMax, stop))
                {
                    throw new CommandException($"Process {record.ProcessId} has not stopped within {WaitMax.TotalSeconds:0} s.");
                }

                Console.WriteLine("Stopped.");
                return ExitCode.Ok;
            }
        );
        return command;
    }
}

/// <summary><c>status</c>: whether a host runs, where, with which workers and how much work.</summary>
internal static class StatusCommand
{
    public static Command Create(Connection connection)
    {
        var command = new Command("status", "Is it up, where, with which workers. Exit code 1 when it is not.");
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                if (!await client.IsReadyAsync(stop))
                {
                    Console.WriteLine("Not reachable, or not ready. Start it with \"./pipeline up\".");
                    return ExitCode.Failed;
                }

                Console.WriteLine($"up at {client.Address}");
                foreach (var worker in (await client.ListWorkersAsync(stop)).Data)
                {
                    string Text(string name) => worker.TryGetProperty(name, out var value) ? value.ToString() : "";
                    Console.WriteLine(
                        $"worker {Text("name")}: {Text("state")}, pool {Text("pool")}, {Text("provider")} on {Text("device")}"
                    );
                }

                foreach (var state in (string[])["running", "queued"])
                {
                    var jobs = await client.ListJobsAsync($"state={state}&limit=100", stop);
                    Console.WriteLine($"jobs {state}: {jobs.Data.Count}{(jobs.HasMore ? " or more" : "")}");
                }

                return ExitCode.Ok;
            }
        );
        return command;
    }
}
