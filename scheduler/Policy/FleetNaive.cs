namespace Pipeline.Scheduler.Policy;

internal static class FleetNaive
{
    public static IEnumerable<(long DueBy, ClassQueue Queue, long Units, long Tasks)> WorkByDeadline(this Backlog b) => [];
}
