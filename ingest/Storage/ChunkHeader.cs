namespace Pipeline.Ingest.Storage;

/// <summary>What is known of a chunk without its payload.</summary>
internal readonly record struct ChunkHeader(int No, int FirstSeq, int Tasks, long Units, int UnitsMax);

/// <summary>A task that names a group of its own.</summary>
/// <param name="Chunk">Its chunk.</param>
/// <param name="Task">The task, counted from 0 in the chunk.</param>
internal readonly record struct GroupedTask(int Chunk, short Task, string Group);
