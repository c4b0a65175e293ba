using System.Text;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Tasks;

/// <summary>What is wrong with a submission: the first mistakes in full, all of them counted.</summary>
internal sealed class Mistakes(int keptMax)
{
    private readonly List<Mistake> _kept = [];

    /// <summary>The first ones, in the order found.</summary>
    public IReadOnlyList<Mistake> Kept => _kept;

    /// <summary>All of them, kept or only counted.</summary>
    public long Total { get; private set; }

    public bool Any => Total > 0;

    public void Add(string? field, string expected, string? given, TaskPlace place = default)
    {
        Total++;
        if (_kept.Count < keptMax)
        {
            _kept.Add(
                new Mistake
                {
                    Line = place.Line,
                    Field = place.Field(field),
                    Expected = expected,
                    Given = given,
                }
            );
        }
    }

    /// <summary>Names the task in the mistakes found since <paramref name="from"/> (an earlier count of <see cref="Kept"/>).</summary>
    public void NameTask(int from, string? customId)
    {
        for (var i = from; i < _kept.Count; i++)
        {
            _kept[i] = _kept[i] with { CustomId = customId };
        }
    }
}

/// <summary>
/// Where a task stands: on a line of the body (from 1), or in the array <c>tasks</c> (from 0), or as a bare input in the array <c>inputs</c>
/// or <paramref name="Array"/>.
/// </summary>
internal readonly record struct TaskPlace(long? Line, int? Index = null, bool IsBare = false, string? Array = null)
{
    private const string Input = "input";

    public string? Field(string? name) =>
        Index is not { } index ? name
        : IsBare
            ? $"{Array ?? "inputs"}[{index}]{(name?.StartsWith(Input, StringComparison.Ordinal) == true ? name[Input.Length..] : name)}"
        : name is null ? $"tasks[{index}]"
        : $"tasks[{index}].{name}";

    public override string ToString() => Index is { } index ? $"tasks[{index}]" : $"line {Line}";
}

/// <summary>Shows bytes of a request in a message: short, and readable whatever they are.</summary>
internal static class Excerpt
{
    private const int BytesMax = 60;

    public static string Of(ReadOnlySpan<byte> bytes)
    {
        var text = Encoding.UTF8.GetString(bytes[..Math.Min(bytes.Length, BytesMax)]);
        return bytes.Length > BytesMax ? $"{text}…" : text;
    }

    public static string Of(string text) => text.Length > BytesMax ? $"{text[..BytesMax]}…" : text;
}
