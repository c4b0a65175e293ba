namespace Pipeline.Ingest.Storage;

/// <summary>What is known of a chunk without its payload.</summary>
internal readonly record struct ChunkHeader(int No, int FirstSeq, int Tasks, long Units, int UnitsMax);
