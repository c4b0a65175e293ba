using System.Globalization;
using System.IO.Compression;

namespace Pipeline.Simulator.Workloads;

/// <summary>
/// A recorded stream of requests (gzip CSV <c>arrival_s,input_tokens,output_tokens</c>, of ../shared/data/traces): when each came, and
/// its input's length. Stays outside the repository; whoever uses it asks <see cref="Exists"/> first.
/// </summary>
internal sealed class Trace
{
    public const string Azure = "azure_llm_2023_conv_0-35min.csv.gz";
    public const string Mooncake = "mooncake_conversation_0-30min.csv.gz";
    public const string ArxivLengths = "arxiv_summarization_lengths_0-14k.csv.gz";

    private Trace(double[] seconds, int[] tokens, double window) => (Seconds, Tokens, Window) = (seconds, tokens, window);

    /// <summary>Arrivals in order, from the window's start.</summary>
    public IReadOnlyList<double> Seconds { get; }
    public IReadOnlyList<int> Tokens { get; }

    /// <summary>Seconds until the trace would start again: the last arrival and one mean gap.</summary>
    public double Window { get; }
    public double RatePerSecond => Seconds.Count / Window;

    public static bool Exists(string name) => SharedData.Exists(Path.Combine("traces", name));

    /// <param name="name">The file's name, such as <see cref="Azure"/>.</param>
    /// <param name="spread">Seconds over which requests of one time stamp are spread: mooncake's clock ticks every 3 s.</param>
    /// <param name="seed">Of the spreading.</param>
    public static Trace Read(string name, double spread = 0, ulong seed = 1)
    {
        var chance = Chance.For(seed, 201);
        var rows = Lines(name)
            .Select(f =>
                (
                    At: double.Parse(f[0], CultureInfo.InvariantCulture) + (spread > 0 ? spread * chance.Uniform() : 0),
                    Tokens: int.Parse(f[1], CultureInfo.InvariantCulture)
                )
            )
            .ToList();
        // A stable order: rows of one time stamp that is not spread stay as they were recorded.
        var ordered = rows.OrderBy(r => r.At).ToList();
        var last = ordered[^1].At;
        return new Trace([.. ordered.Select(r => r.At)], [.. ordered.Select(r => r.Tokens)], last * (1 + (1.0 / (ordered.Count - 1))));
    }

    /// <summary>The trace as scenarios use it: mooncake's shared stamps are spread.</summary>
    public static Trace ReadUsual(string name, ulong seed = 1) => Read(name, name == Mooncake ? 3 : 0, seed);

    /// <summary>Input lengths of a bulk job, in the order of the file.</summary>
    public static int[] ReadLengths(string name) => [.. Lines(name).Select(f => int.Parse(f[1], CultureInfo.InvariantCulture))];

    private static IEnumerable<string[]> Lines(string name)
    {
        using var reader = new StreamReader(
            new GZipStream(File.OpenRead(SharedData.PathOf(Path.Combine("traces", name))), CompressionMode.Decompress)
        );
        reader.ReadLine();
        while (reader.ReadLine() is { } line)
        {
            yield return line.Split(',');
        }
    }
}

/// <summary>
/// A trace's requests with its time stretched to a mean rate, over and over until there are enough. Bursts keep their shape: at twice
/// the rate everything comes twice as fast.
/// </summary>
/// <param name="unitsMax">Lengths are cut here; 1 makes every task one unit, for profiles by rows.</param>
internal sealed class TraceArrivals(Kind kind, Trace trace, double ratePerSecond, long count, int unitsMax = 1) : IArrivals
{
    private readonly double _ticksPerSecond = TimeSpan.TicksPerSecond * trace.RatePerSecond / ratePerSecond;
    private long _sent;

    public bool Next(out Submission submission)
    {
        submission = default;
        if (_sent >= count)
        {
            return false;
        }

        var (round, row) = Math.DivRem(_sent, trace.Seconds.Count);
        var at = ((round * trace.Window) + trace.Seconds[(int)row]) * _ticksPerSecond;
        submission = kind.At((long)at, (int)(_sent % int.MaxValue), Math.Clamp(trace.Tokens[(int)row], 1, unitsMax));
        _sent++;
        return true;
    }
}
