using MassTransit;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Sends results that somebody waits for, after their commit. Writing never waits for the broker: where too many answers are under way the
/// next are left out, and who waits reads the rows.
/// </summary>
internal sealed partial class Answers(IPublishEndpoint bus, WorkerOptions options, ILogger log)
{
    private int _underWay;

    /// <summary>Gathers the answers of a commit and sends them, one message for each instance that waits, more where they are large.</summary>
    /// <param name="rows">The rows of the commit.</param>
    /// <param name="waitsFor">Who waits for a row; null where nobody does.</param>
    /// <param name="inserted">False for a row whose task had ended before: its result was another.</param>
    public void Send(TaskEndRows rows, IReadOnlyList<Guid?> waitsFor, EndedTasks inserted)
    {
        Dictionary<Guid, (List<TaskAnswer> Answers, int Bytes)>? open = null;
        for (var row = 0; row < waitsFor.Count; row++)
        {
            if (waitsFor[row] is not { } instance || !inserted.WasInserted(row))
            {
                continue;
            }

            open ??= [];
            var answer = rows.AnswerOf(row, options.AnswerBytesMax);
            var bytes = answer.Output?.Length ?? 0;
            if (!open.TryGetValue(instance, out var gathered) || gathered.Bytes + bytes > options.AnswerBytesMax)
            {
                Send(instance, gathered.Answers);
                gathered = ([], 0);
            }

            gathered.Answers.Add(answer);
            open[instance] = (gathered.Answers, gathered.Bytes + bytes);
        }

        foreach (var (instance, gathered) in open ?? [])
        {
            Send(instance, gathered.Answers);
        }
    }

    private void Send(Guid instance, List<TaskAnswer>? answers)
    {
        if (answers is null)
        {
            return;
        }

        if (Interlocked.Increment(ref _underWay) > options.AnswersUnderWayMax)
        {
            Interlocked.Decrement(ref _underWay);
            LogLeftOut(log, answers.Count);
            return;
        }

        _ = SendAsync(new TaskAnswered { ReplyTo = instance, Answers = answers });
    }

    private async Task SendAsync(TaskAnswered answered)
    {
        try
        {
            await bus.PublishAsync(answered, options.AnswerTimeMax, CancellationToken.None);
        }
        catch (Exception e)
        {
            LogNotSent(log, answered.Answers.Count, e.Message);
        }
        finally
        {
            Interlocked.Decrement(ref _underWay);
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "{Answers} answers were left out, too many are under way; who waits reads the rows")]
    private static partial void LogLeftOut(ILogger log, int answers);

    [LoggerMessage(2, LogLevel.Warning, "{Answers} answers were not sent, who waits reads the rows: {Reason}")]
    private static partial void LogNotSent(ILogger log, int answers, string reason);
}
