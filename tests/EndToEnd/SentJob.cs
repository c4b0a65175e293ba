using Pipeline.Standalone.Client;

namespace Pipeline.Tests.EndToEnd;

/// <summary>A job that was accepted, and what was sent: the task with seq <c>n</c> has the n-th text and <see cref="CustomId"/>.</summary>
internal sealed record SentJob(string Id, string Model, IReadOnlyList<string> Texts)
{
    public static string CustomId(int seq) => $"task-{seq}";

    /// <summary>Half of it, near enough to the middle that work stands before, on and behind the device.</summary>
    public static bool IsInTheMiddle(ApiJob job) => job.Ended > 0 && job.Ended < job.Tasks;
}
