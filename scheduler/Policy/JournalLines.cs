namespace Pipeline.Scheduler.Policy;

/// <summary>The first line of a journal: what a planner starts from. A journal covers one term, from its take-over.</summary>
/// <param name="Program">Version of the program that wrote it.</param>
/// <param name="Started">When the planner was made, in UTC ticks (of 100 ns), as all times of a journal.</param>
internal sealed record JournalHead(string Program, long Started, long Epoch, PolicyOptions Options);

/// <summary>A line of a journal after the first.</summary>
internal abstract record JournalLine(long Ticks);

/// <summary>The planner observed this, at this time.</summary>
internal sealed record JournalFact(long Ticks, Fact Fact) : JournalLine(Ticks);

/// <summary>The planner planned. A plan that decides nothing is told as well, since it may change what the planner holds.</summary>
/// <param name="Decisions">How many decisions it made.</param>
/// <param name="Hash">The running hash after it; absent where nothing was decided, but for one a second.</param>
internal sealed record JournalPlan(long Ticks, int Decisions, ulong? Hash) : JournalLine(Ticks);

/// <summary>Why nothing follows.</summary>
internal sealed record JournalEnd(long Ticks, string Reason) : JournalLine(Ticks);

/// <summary>A line of a journal cannot be read; the message says which field, what was expected, what was given.</summary>
internal sealed class JournalException(string message, Exception? inner = null) : Exception(message, inner);
