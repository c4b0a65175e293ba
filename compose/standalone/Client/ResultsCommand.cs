using System.CommandLine;
using System.Text;
using System.Text.Json;

namespace Pipeline.Standalone.Client;

/// <summary><c>results</c>: writes a job's results as NDJSON; a file that was cut short is continued where it ended.</summary>
internal static class ResultsCommand
{
    public static Command Create(Connection connection)
    {
        var id = new Argument<string>("job") { Description = "The job's id" };
        var output = new Option<string?>("--output", "-o")
        {
            Description = "File to write; if it holds results of an earlier try, they are continued",
        };
        var failed = new Option<bool>("--failed") { Description = "Only tasks that failed" };
        var limit = new Option<int?>("--limit", "-n") { Description = "At most so many lines" };
        var command = new Command("results", "Write a job's results as NDJSON, in task order.") { id, output, failed, limit };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var query = new StringBuilder("order=task");
                if (parsed.GetValue(failed))
                {
                    query.Append("&status=failed");
                }

                if (parsed.GetValue(limit) is { } count)
                {
                    query.Append("&limit=").Append(count);
                }

                var job = parsed.GetValue(id)!;
                return parsed.GetValue(output) is { } path
                    ? await ToFileAsync(client, job, query.ToString(), path, stop)
                    : await ToConsoleAsync(client, job, query.ToString(), stop);
            }
        );
        return command;
    }

    private static async Task<int> ToConsoleAsync(PipelineClient client, string job, string query, CancellationToken stop)
    {
        await using var console = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false), bufferSize: 64 * 1024);
        await foreach (var line in client.ResultsAsync(job, query, stop))
        {
            await console.WriteLineAsync(line.AsMemory(), stop);
        }

        return ExitCode.Ok;
    }

    private static async Task<int> ToFileAsync(PipelineClient client, string job, string query, string path, CancellationToken stop)
    {
        await using var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite);
        var (whole, last) = await WholeLinesAsync(file, stop);
        file.SetLength(whole);
        file.Position = whole;
        if (last is { } seq)
        {
            Console.Error.WriteLine($"{path} ends with task {seq}: continuing after it");
            query += $"&cursor={seq}";
        }

        long lines = 0;
        await using var writer = new StreamWriter(file, new UTF8Encoding(false), bufferSize: 64 * 1024);
        await foreach (var line in client.ResultsAsync(job, query, stop))
        {
            await writer.WriteAsync($"{line}\n".AsMemory(), stop);
            lines++;
        }

        Console.Error.WriteLine($"{lines:N0} results written to {path}");
        return ExitCode.Ok;
    }

    /// <summary>Where the last whole line of a file ends, and the <c>seq</c> it carries.</summary>
    private static async Task<(long Length, long? Seq)> WholeLinesAsync(FileStream file, CancellationToken stop)
    {
        var tail = new byte[(int)Math.Min(file.Length, 16 * 1024 * 1024)];
        file.Position = file.Length - tail.Length;
        await file.ReadExactlyAsync(tail, stop);
        var end = Array.LastIndexOf(tail, (byte)'\n');
        if (end < 0)
        {
            return (0, null);
        }

        var start = end == 0 ? 0 : Array.LastIndexOf(tail, (byte)'\n', end - 1) + 1;
        try
        {
            using var line = JsonDocument.Parse(tail.AsMemory(start, end - start));
            return (file.Length - tail.Length + end + 1, line.RootElement.GetProperty("seq").GetInt64());
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new CommandException($"{file.Name} does not hold results (its last line has no seq). Choose another file.");
        }
    }
}
