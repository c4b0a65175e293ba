using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Ingest.Tasks;
using Pipeline.Standalone.Client;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.Standalone.Host;

/// <summary>
/// Reads samples for a model that is about to be registered: task lines as a job has them, checked as the door will check them.
/// </summary>
internal static class SampleFile
{
    private const int SamplesMax = 1024;
    private const int MistakesMax = 10;
    private const int BytesMax = 4 * 1024 * 1024;

    /// <returns>The inputs as workers take them.</returns>
    /// <exception cref="CommandException">A line is no task of this model, or there is none; the message names the lines.</exception>
    /// <exception cref="InvalidModelException">The model itself cannot be used.</exception>
    public static async Task<IReadOnlyList<ReadOnlyMemory<byte>>> ReadAsync(
        string path,
        string modelFolder,
        SessionOptions session,
        CancellationToken stop
    )
    {
        var mistakes = new Mistakes(MistakesMax);
        var samples = new Samples();
        var reader = new TaskReader(TaskInput.For(CompletedManifest(modelFolder, session), BytesMax), mistakes);
        var number = 0L;
        await foreach (var line in LineFile.ReadLinesAsync(path, stop))
        {
            number++;
            if (line.Length > 0 && samples.Inputs.Count < SamplesMax)
            {
                reader.Read(System.Text.Encoding.UTF8.GetBytes(line), new TaskPlace(number), samples);
            }
        }

        if (mistakes.Any)
        {
            var lines = mistakes.Kept.Select(m => $"{path}: line {m.Line}, {m.Field}: expected {m.Expected}, given {m.Given}.");
            throw new CommandException(string.Join(Environment.NewLine, lines));
        }

        return samples.Inputs.Count > 0
            ? samples.Inputs
            : throw new CommandException($"{path}: expected task lines {{\"custom_id\": …, \"input\": …}}, given an empty file.");
    }

    /// <summary>What a task must look like is known once the graph has told its types and shapes.</summary>
    private static ModelManifest CompletedManifest(string modelFolder, SessionOptions session)
    {
        using var pool = new TensorBufferPool();
        using var model = OnnxModel.Load(modelFolder, session, pool);
        return model.Manifest;
    }

    private sealed class Samples : ITaskSink
    {
        public List<ReadOnlyMemory<byte>> Inputs { get; } = [];

        public void Add(ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input, int units, ReadOnlySpan<byte> group = default) =>
            Inputs.Add(input.ToArray());
    }
}
