// migrate: brings a database to the newest schema.
//   migrate [--database "Host=…;Database=…"] [--wait SECONDS]       (or the environment: PIPELINE__DATABASE, PIPELINE__WAIT)
//   migrate script                                                  prints the SQL that makes the schema in an empty database
// Ends with 0 when the database is ready, 1 when it could not be made so, 2 when the arguments are wrong.

using System.Globalization;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;

if (args is [.., "script"])
{
    Console.Write(Migrator.Script());
    return 0;
}

var configuration = new ConfigurationBuilder()
    .AddInMemoryCollection(new Dictionary<string, string?> { ["wait"] = "60" })
    .AddEnvironmentVariables("PIPELINE__")
    .AddCommandLine([.. args.Where(a => a != "migrate")])
    .Build();
using var logging = LoggerFactory.Create(b => b.AddSimpleConsole(o => o.SingleLine = true));
var logger = logging.CreateLogger("migrate");

if (configuration["database"] is not { Length: > 0 } database)
{
    await Console.Error.WriteLineAsync("migrate: expected --database \"Host=…;Database=…\" or PIPELINE__DATABASE, given neither.");
    return 2;
}

if (!double.TryParse(configuration["wait"], CultureInfo.InvariantCulture, out var wait) || wait is < 0 or > 86_400)
{
    await Console.Error.WriteLineAsync($"migrate: expected --wait as seconds from 0 to 86400, given \"{configuration["wait"]}\".");
    return 2;
}

try
{
    await Migrator.MigrateAsync(database, logger, TimeSpan.FromSeconds(wait));
    return 0;
}
catch (Exception e) when (e is NpgsqlException or ServerUnavailableException or ArgumentException)
{
    await Console.Error.WriteLineAsync($"migrate: {e.Message}");
    return 1;
}
