using Microsoft.EntityFrameworkCore.Storage.ValueConversion;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

// How the shared words are stored: ids as uuid, states as their wire names, so that a row reads the same in psql and in JSON.

internal sealed class IdConverter<T>() : ValueConverter<T, Guid>(id => id.Value, value => From(value))
    where T : struct, IEntityId<T>
{
    // Expression trees cannot call an interface's static member themselves.
    private static T From(Guid value) => T.From(value);
}

internal sealed class JobStateConverter() : ValueConverter<JobState, string>(s => s.Name(), text => JobStates.ParseJobState(text));

internal sealed class TaskOutcomeConverter() : ValueConverter<TaskOutcome, string>(o => o.Name(), text => JobStates.ParseTaskOutcome(text));

internal sealed class LatencyClassConverter()
    : ValueConverter<LatencyClass, string>(c => c.Name(), text => Words.Parse<LatencyClass>(text, LatencyClasses.Name));

internal sealed class LaneConverter() : ValueConverter<Lane, string>(l => l.Name(), text => Words.Parse<Lane>(text, LatencyClasses.Name));

internal sealed class ModelKindConverter()
    : ValueConverter<ModelKind, string>(k => k.Name(), text => Words.Parse<ModelKind>(text, ModelRegistry.Name));

internal sealed class WorkerStateConverter()
    : ValueConverter<WorkerState, string>(s => s.Name(), text => Words.Parse<WorkerState>(text, WorkerStates.Name));

internal sealed class LedgerAccountConverter()
    : ValueConverter<LedgerAccount, string>(a => a.Name(), text => Words.Parse<LedgerAccount>(text, LedgerAccounts.Name));

internal sealed class SplitMethodConverter()
    : ValueConverter<SplitMethod, string>(m => m.Name(), text => Words.Parse<SplitMethod>(text, SplitMethods.Name));

/// <summary>Reads and lists the wire names of an enum; CHECK constraints are made of the same names, so they cannot disagree.</summary>
internal static class Words
{
    /// <exception cref="FormatException">No value has that name.</exception>
    public static T Parse<T>(string text, Func<T, string> name)
        where T : struct, Enum
    {
        foreach (var value in Enum.GetValues<T>())
        {
            if (name(value) == text)
            {
                return value;
            }
        }

        throw new FormatException($"\"{text}\" is not one of {string.Join(", ", Enum.GetValues<T>().Select(name))}.");
    }

    /// <summary>The SQL list <c>'a', 'b', 'c'</c> of the names of these values, or of all.</summary>
    public static string SqlList<T>(Func<T, string> name, params ReadOnlySpan<T> values)
        where T : struct, Enum
    {
        var chosen = values.Length == 0 ? Enum.GetValues<T>() : values.ToArray();
        return string.Join(", ", chosen.Select(v => $"'{name(v)}'"));
    }
}
