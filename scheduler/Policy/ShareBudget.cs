namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Lets a share of what comes be spent: every task that comes earns the share, every one that is spent costs one. What is saved is
/// bounded, so a quiet hour does not pay for a bad minute.
/// </summary>
internal sealed class ShareBudget
{
    /// <summary>Tasks whose shares are saved at most.</summary>
    private const int TasksSaved = 10_000;

    private double _tasks;

    /// <summary>How many may be spent at this share.</summary>
    public double Left(double share) => share >= 1 ? double.PositiveInfinity : Math.Max(0, share * _tasks);

    public void Earn(double tasks) => _tasks = Math.Min(TasksSaved, _tasks + tasks);

    public void Spend(double tasks, double share) => _tasks -= share > 0 ? Math.Min(tasks / share, TasksSaved) : 0;
}
