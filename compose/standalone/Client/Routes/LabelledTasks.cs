using System.Text;
using System.Text.Json;

namespace Pipeline.Standalone.Client.Routes;

/// <summary>Labelled tasks: a file of <c>{"input": …, "label": "…"}</c>, a line each.</summary>
internal sealed class LabelledTasks
{
    private readonly List<string> _inputs = [];
    private readonly List<string> _labels = [];

    /// <summary>Each input as JSON.</summary>
    public IReadOnlyList<string> Inputs => _inputs;

    /// <summary>The right label of each.</summary>
    public IReadOnlyList<string> Labels => _labels;

    /// <param name="most">Lines at most: all are held in memory, with what every variant says of them.</param>
    /// <exception cref="CommandException">A line is not of that form, or there are too few or too many.</exception>
    public static async Task<LabelledTasks> ReadAsync(string path, int most, CancellationToken stop)
    {
        var tasks = new LabelledTasks();
        var number = 0;
        await foreach (var line in LineFile.ReadLinesAsync(path, stop))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
            {
                tasks.Add(line, $"{path}: line {number}");
            }

            if (tasks._inputs.Count > most)
            {
                throw new CommandException($"{path}: expected at most {most} labelled tasks, given more (--tasks-max allows more).");
            }
        }

        return tasks._inputs.Count >= 2 ? tasks : throw new CommandException($"{path}: expected 2 labelled tasks or more.");
    }

    /// <summary>All of them as the body of a job; their ids count from 0.</summary>
    public HttpContent Body()
    {
        var lines = new StringBuilder();
        for (var i = 0; i < _inputs.Count; i++)
        {
            lines.Append("{\"custom_id\":\"").Append(i).Append("\",\"input\":").Append(_inputs[i]).Append("}\n");
        }

        return new StringContent(lines.ToString(), Encoding.UTF8, "application/x-ndjson");
    }

    private void Add(string line, string where)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            if (
                json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty("input", out var input)
                && json.RootElement.TryGetProperty("label", out var label)
                && label.ValueKind == JsonValueKind.String
            )
            {
                // On one line, whatever the file's form.
                _inputs.Add(JsonSerializer.Serialize(input));
                _labels.Add(label.GetString()!);
                return;
            }
        }
        catch (JsonException)
        {
            // Told below, with its line.
        }

        throw new CommandException(
            $"{where}: expected {{\"input\": …, \"label\": \"…\"}}, given {(line.Length > 80 ? $"{line[..80]}…" : line)}"
        );
    }
}
