using System.Text;

namespace Pipeline.StarterModels.LanguageId;

/// <summary>
/// A trained identifier: a table of whole-number weights, one row per bucket and one column per language. The score of a language is
/// <c>Scale</c> times the sum of the touched rows; whole numbers make that sum the same in any order, on any machine.
/// </summary>
/// <param name="Spec">Which byte runs are counted.</param>
/// <param name="Languages">Column names.</param>
/// <param name="Table"><c>Spec.Rows * Languages.Length</c> weights.</param>
/// <param name="Scale">Turns whole numbers into logits.</param>
internal sealed record LanguageIdModel(LanguageIdSpec Spec, string[] Languages, sbyte[] Table, float Scale)
{
    /// <summary>Logits of a text, as the graph computes them before its softmax.</summary>
    public float[] Logits(ReadOnlySpan<byte> text)
    {
        var rows = new List<int>();
        ByteRuns.Collect(Spec, text, rows);
        var sums = new int[Languages.Length];
        foreach (var row in rows)
        {
            for (var language = 0; language < sums.Length; language++)
                sums[language] += Table[row * sums.Length + language];
        }
        return [.. sums.Select(sum => sum * Scale)];
    }

    /// <summary>The index of the most likely language.</summary>
    public int Classify(string text)
    {
        var logits = Logits(Encoding.UTF8.GetBytes(text));
        return Array.IndexOf(logits, logits.Max());
    }
}
