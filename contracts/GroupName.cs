using System.Buffers;
using System.Text;

namespace Pipeline.Contracts;

/// <summary>
/// Names a group: the tasks that together serve one user query or one agent run, over any number of jobs of a tenant. The client chooses
/// it; it stands in paths, so its characters need no escape there.
/// </summary>
public static class GroupName
{
    /// <summary>Characters at most; a trace id has 32, a UUID 36.</summary>
    public const int LengthMax = 128;

    /// <summary>The form as a regular expression that .NET, PostgreSQL and JSON Schema read alike.</summary>
    public const string Pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$";

    /// <summary>The form in words.</summary>
    public const string Form = "1 to 128 of A-Z, a-z, 0-9 and . _ : -, the first a letter or a digit";

    private static readonly SearchValues<char> Characters = SearchValues.Create(Letters + Others);
    private static readonly SearchValues<byte> Bytes = SearchValues.Create(Encoding.ASCII.GetBytes(Letters + Others));
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    private const string Others = "._:-";

    /// <summary>Whether a name has that form.</summary>
    public static bool IsValid(ReadOnlySpan<char> name) =>
        name.Length is > 0 and <= LengthMax && char.IsAsciiLetterOrDigit(name[0]) && !name.ContainsAnyExcept(Characters);

    /// <summary>The same of a name in UTF-8.</summary>
    public static bool IsValid(ReadOnlySpan<byte> name) =>
        name.Length is > 0 and <= LengthMax && char.IsAsciiLetterOrDigit((char)name[0]) && !name.ContainsAnyExcept(Bytes);
}
