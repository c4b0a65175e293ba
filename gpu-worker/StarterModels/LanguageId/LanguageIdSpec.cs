namespace Pipeline.StarterModels.LanguageId;

/// <summary>One size of the language identifier: which runs of bytes it looks at.</summary>
/// <param name="Name">Folder and model name.</param>
/// <param name="Orders">Lengths of the byte runs (n-grams) that are counted, ascending; the longest is at least two.</param>
/// <param name="BucketBits">Each order hashes into 2^BucketBits rows of the weight table.</param>
internal sealed record LanguageIdSpec(string Name, int[] Orders, int BucketBits)
{
    /// <summary>Cheap, pairs of bytes only: the model of the demo and the first step of a cascade.</summary>
    public static readonly LanguageIdSpec Small = new("language-id-small", [2], 12);

    /// <summary>Better and dearer: single bytes to runs of five.</summary>
    public static readonly LanguageIdSpec Large = new("language-id-large", [1, 2, 3, 4, 5], 15);

    public static readonly LanguageIdSpec[] All = [Small, Large];

    /// <summary>Rows of the weight table, order after order.</summary>
    public int Rows => Orders.Length << BucketBits;

    /// <summary>The longest run of bytes.</summary>
    public int LongestOrder => Orders[^1];
}
