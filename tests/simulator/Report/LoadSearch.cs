namespace Pipeline.Simulator.Report;

/// <summary>
/// Finds the largest load that is kept, among loads a fixed ratio apart that are the same for every policy: so two policies that are
/// as good get the same answer. It gallops from a guess and then halves; a guess that is near costs few probes.
/// </summary>
/// <param name="keeps">Lives at this load.</param>
/// <param name="step">Ratio of neighbours, less one.</param>
internal sealed class LoadSearch(Func<double, bool> keeps, double step)
{
    private const double Lowest = 0.02;
    private const double Highest = 1.5;

    /// <summary>The place of a load that not even the lowest of all stands for.</summary>
    public const int None = -1;

    private int Last => Place(Highest);

    public double Load(int place) => place < 0 ? 0 : Lowest * Math.Pow(1 + step, place);

    public int Place(double load) => (int)Math.Floor((Math.Log(load / Lowest) / Math.Log(1 + step)) + 1e-9);

    public bool Keeps(int place) => keeps(Load(place));

    /// <param name="guess">Where to begin.</param>
    /// <param name="width">The first stride.</param>
    /// <param name="exactFrom">Answers below this may be four steps too low: they are compared to nothing.</param>
    public int Largest(int guess, int width, int exactFrom = 0)
    {
        var (kept, broken) = Keeps(guess) ? Up(guess, width) : Down(guess, width);
        while (broken - kept > (broken < exactFrom ? 4 : 1))
        {
            var middle = (kept + broken) / 2;
            (kept, broken) = Keeps(middle) ? (middle, broken) : (kept, middle);
        }

        return kept;
    }

    private (int Kept, int Broken) Up(int kept, int width)
    {
        while (kept + width <= Last)
        {
            if (!Keeps(kept + width))
            {
                return (kept, kept + width);
            }

            (kept, width) = (kept + width, 2 * width);
        }

        return (kept, Last + 1);
    }

    private (int Kept, int Broken) Down(int broken, int width)
    {
        while (broken - width >= 0)
        {
            if (Keeps(broken - width))
            {
                return (broken - width, broken);
            }

            (broken, width) = (broken - width, 2 * width);
        }

        return (None, broken);
    }
}
