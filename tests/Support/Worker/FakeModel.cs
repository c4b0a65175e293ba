using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.Tests.Support.Worker;

/// <summary>
/// A model without a device: it answers with the length of its input, and does what words in the input ask for. <see cref="Bad"/> does
/// not suit it, <see cref="Fails"/> fails the whole batch, <see cref="Spoils"/> leaves an output that cannot be read, and
/// <see cref="Kills"/> ends the process. Of <see cref="Unsure"/> its best label scores 0.4, of all else 0.9, and the second 0.1. A batch waits before it runs where <see cref="Hold"/> was called.
/// </summary>
internal sealed class FakeModel(ModelRef name, int batchRowsMax) : IModel
{
    public const string Bad = "[bad]";
    public const string Fails = "[fails]";
    public const string Spoils = "[spoils]";
    public const string Kills = "[kills]";
    public const string Unsure = "[unsure]";

    private readonly ConcurrentQueue<string[]> _runs = new();
    private readonly SemaphoreSlim _turns = new(0);
    private volatile bool _held;
    private TaskCompletionSource _waiting = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Inputs of every batch that came to the device, in that order.</summary>
    public IReadOnlyList<string[]> Runs => [.. _runs];

    /// <summary>Inputs of every batch that was packed.</summary>
    public Heard<string[]> Packs { get; } = new();

    /// <summary>Ends when a held batch is on the device.</summary>
    public Task OnDevice => _waiting.Task;

    /// <summary>Set anew it is another model under the same name.</summary>
    public ModelManifest Manifest { get; set; } =
        new()
        {
            Name = name.Name,
            Version = name.Version,
            File = "none",
            Sha256 = new string('0', 64),
            Kind = ModelKind.Text,
            Inputs = new Dictionary<string, TensorSpec>(),
            Outputs = new Dictionary<string, TensorSpec>(),
            Limits = new() { BatchRowsMax = batchRowsMax },
        };

    public string Provider => "cpu";

    public string Device => "none";

    public long MemoryBytes => 1;

    public int FixedRows => 0;

    /// <summary>From now on every batch waits on the device until it is let through.</summary>
    public void Hold() => _held = true;

    /// <summary>Lets one held batch through, and waits until the next one is there.</summary>
    public void LetOneThrough()
    {
        _waiting = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _turns.Release();
    }

    /// <summary>Lets all through, now and later.</summary>
    public void LetGo()
    {
        _held = false;
        _turns.Release();
    }

    public PreparedTask Prepare(ReadOnlyMemory<byte> input)
    {
        var text = Encoding.UTF8.GetString(input.Span);
        return text.Contains(Bad, StringComparison.Ordinal)
            ? throw new TaskInputException($"Expected good input, given \"{text}\".")
            : new FakeTask(text) { Units = Math.Max(1, input.Length) };
    }

    public IPackedBatch Pack(ReadOnlySpan<PreparedTask> tasks)
    {
        var inputs = new string[tasks.Length];
        var (units, longest) = (0L, 0);
        for (var i = 0; i < tasks.Length; i++)
        {
            inputs[i] = ((FakeTask)tasks[i]).Text;
            units += tasks[i].Units;
            longest = Math.Max(longest, tasks[i].Units);
        }

        Packs.Add(inputs);
        return new FakeBatch(inputs, units, (long)longest * tasks.Length);
    }

    public IRanBatch Run(IPackedBatch batch, CancellationToken stop)
    {
        var inputs = ((FakeBatch)batch).Inputs;
        _runs.Enqueue(inputs);
        if (_held)
        {
            _waiting.TrySetResult();
            _turns.Wait(stop);
        }

        if (inputs.Any(i => i.Contains(Kills, StringComparison.Ordinal)))
        {
            Process.GetCurrentProcess().Kill();
        }

        return inputs.Any(i => i.Contains(Fails, StringComparison.Ordinal))
            ? throw new InvalidOperationException("The device met a word it cannot bear.")
            : new FakeRan(inputs);
    }

    public void Dispose() { }

    /// <summary>What it answers.</summary>
    public static string Answer(string input) => JsonSerializer.Serialize(new { length = input.Length, input });

    private sealed class FakeTask(string text) : PreparedTask
    {
        public string Text => text;
    }

    private sealed record FakeBatch(string[] Inputs, long Units, long PaddedUnits) : IPackedBatch
    {
        public int Rows => Inputs.Length;

        public void Dispose() { }
    }

    private sealed class FakeRan(string[] inputs) : IRanBatch
    {
        public TaskOutput Result(int row) =>
            inputs[row].Contains(Spoils, StringComparison.Ordinal)
                ? throw new InvalidDataException("The output cannot be read.")
                : new TaskOutput(
                    Encoding.UTF8.GetBytes(Answer(inputs[row])),
                    "application/json",
                    inputs[row].Contains(Unsure, StringComparison.Ordinal) ? 0.4f : 0.9f,
                    0.1f
                );

        public void Dispose() { }
    }
}
