namespace Pipeline.Contracts;

/// <summary>
/// How a batch's cost is split over its tasks. A method's name has a version: what was split by it can be split again to the same digit,
/// so a method never changes, it gets a successor. Remainders go by the largest remainder in all of them (<see cref="Cost.Split"/>).
/// </summary>
public enum SplitMethod
{
    /// <summary>Padding apart; the rest between the tasks by their real units. A task pays for what it is, whoever it ran with.</summary>
    Units,

    /// <summary>Padding apart; every task of the batch pays the same.</summary>
    Equal,

    /// <summary>
    /// By padded units, so that the tasks bear the padding, too, and that account stays empty. All rows of a batch are padded to the same
    /// length; rows a fixed graph adds are shared as well.
    /// </summary>
    Padded,
}

/// <summary>Wire names of split methods.</summary>
public static class SplitMethods
{
    public static string Name(this SplitMethod method) =>
        method switch
        {
            SplitMethod.Equal => "equal.v1",
            SplitMethod.Padded => "padded.v1",
            _ => "units.v1",
        };

    public static bool TryParse(string? text, out SplitMethod method)
    {
        foreach (var known in Enum.GetValues<SplitMethod>())
        {
            if (known.Name() == text)
            {
                method = known;
                return true;
            }
        }

        method = default;
        return false;
    }
}
