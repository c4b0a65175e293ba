using System.Globalization;
using System.Text;
using Xunit;

namespace Pipeline.Tests.Support.Telemetry;

/// <summary>One series of a scrape.</summary>
internal sealed record Sample(string Name, IReadOnlyDictionary<string, string> Labels, double Value);

/// <summary>A scrape, read strictly: whatever is not in Prometheus' text format fails the test.</summary>
internal sealed class Exposition
{
    private readonly Dictionary<string, string> _types = [];
    private readonly List<Sample> _samples = [];

    public IReadOnlyList<Sample> Samples => _samples;

    /// <summary>Names as <c># TYPE</c> has them, with their types.</summary>
    public IReadOnlyDictionary<string, string> Types => _types;

    public static Exposition Parse(string text)
    {
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        var scrape = new Exposition();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
            {
                var words = line.Split(' ');
                Assert.Equal(4, words.Length);
                Assert.Contains(words[3], (string[])["counter", "gauge", "histogram"]);
                Assert.True(scrape._types.TryAdd(words[2], words[3]), $"{words[2]} has two types.");
            }
            else if (!line.StartsWith('#'))
            {
                scrape._samples.Add(ReadSample(line));
            }
        }

        scrape.Check();
        return scrape;
    }

    private static Sample ReadSample(string line)
    {
        var open = line.IndexOf('{', StringComparison.Ordinal);
        var nameEnd = open >= 0 ? open : line.IndexOf(' ', StringComparison.Ordinal);
        var name = line[..nameEnd];
        Assert.Matches("^[a-zA-Z_:][a-zA-Z0-9_:]*$", name);
        var labels = new Dictionary<string, string>();
        var at = nameEnd;
        if (open >= 0)
        {
            for (at++; line[at] != '}'; )
            {
                var equals = line.IndexOf('=', at);
                var label = line[at..equals];
                Assert.Matches("^[a-zA-Z_][a-zA-Z0-9_]*$", label);
                Assert.Equal('"', line[equals + 1]);
                var value = new StringBuilder();
                for (at = equals + 2; line[at] != '"'; at++)
                {
                    value.Append(line[at] == '\\' ? Unescape(line[++at]) : line[at]);
                }

                Assert.True(labels.TryAdd(label, value.ToString()), $"{label} comes twice: {line}");
                at += line[at + 1] == ',' ? 2 : 1;
            }

            at++;
        }

        Assert.Equal(' ', line[at]);
        var number = line[(at + 1)..].Split(' ')[0];
        return new Sample(
            name,
            labels,
            number switch
            {
                "+Inf" => double.PositiveInfinity,
                "-Inf" => double.NegativeInfinity,
                _ => double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture),
            }
        );
    }

    private static char Unescape(char escaped) =>
        escaped switch
        {
            'n' => '\n',
            '\\' or '"' => escaped,
            _ => throw new FormatException($"\\{escaped} is no escape."),
        };

    /// <summary>Every series has a type and comes once; buckets grow, and the last holds all.</summary>
    private void Check()
    {
        Assert.All(_samples, sample => Assert.Contains(FamilyOf(sample.Name), _types.Keys));
        var twice = _samples.GroupBy(Key).Where(series => series.Count() > 1).Select(series => series.Key);
        Assert.Empty(twice);
        foreach (
            var buckets in _samples.Where(sample => sample.Name.EndsWith("_bucket", StringComparison.Ordinal)).GroupBy(KeyWithoutBound)
        )
        {
            var inOrder = buckets.OrderBy(bucket => Bound(bucket.Labels["le"])).ToList();
            Assert.Equal("+Inf", inOrder[^1].Labels["le"]);
            Assert.All(inOrder.Zip(inOrder.Skip(1)), pair => Assert.True(pair.First.Value <= pair.Second.Value, Key(pair.Second)));
            var count = Assert.Single(
                _samples,
                sample => KeyWithoutBound(sample) == buckets.Key.Replace("_bucket", "_count", StringComparison.Ordinal)
            );
            Assert.Equal(count.Value, inOrder[^1].Value);
        }
    }

    private string FamilyOf(string series) =>
        _types.ContainsKey(series)
            ? series
            : ((string[])["_bucket", "_sum", "_count"])
                .Where(end => series.EndsWith(end, StringComparison.Ordinal))
                .Select(end => series[..^end.Length])
                .FirstOrDefault(series);

    private static double Bound(string bound) =>
        bound == "+Inf" ? double.PositiveInfinity : double.Parse(bound, CultureInfo.InvariantCulture);

    private static string Key(Sample sample) => KeyOf(sample, _ => true);

    private static string KeyWithoutBound(Sample sample) => KeyOf(sample, label => label != "le");

    private static string KeyOf(Sample sample, Func<string, bool> which) =>
        $"{sample.Name}{{{string.Join(",", sample.Labels.Where(l => which(l.Key)).OrderBy(l => l.Key, StringComparer.Ordinal).Select(l => $"{l.Key}={l.Value}"))}}}";
}
