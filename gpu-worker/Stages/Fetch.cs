using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Reads a dispatch's chunks in one round trip, and leaves out what need not run: chunks that are done, jobs that were cancelled or
/// have ended. (A paused job's work runs once it is dispatched.) Only where a chunk is short of its count does a second round trip
/// ask which of its tasks have results. Chunks that came with the dispatch are not read at all: none of their tasks has run before, and
/// should one have a result all the same, it stands.
/// </summary>
internal sealed class Fetch(NpgsqlDataSource database, TelemetryOptions telemetry)
{
    /// <summary>Fills <see cref="DispatchRun.Slices"/>.</summary>
    /// <exception cref="NpgsqlException">PostgreSQL is away, or refused.</exception>
    public async Task ReadAsync(DispatchRun run, CancellationToken stop)
    {
        var slices = run.Dispatch.Slices.Select(s => new SliceRun(s) { Open = s.Count }).ToArray();
        TakeNotes(run.Dispatch, slices);
        if (slices.Any(s => s.Payload is null))
        {
            await ReadRowsAsync(run.Dispatch, slices, stop);
        }

        run.Slices = slices;
        run.Trace ??= Array.Find(slices, s => s.Traceparent is not null)?.Traceparent;
        if (Array.FindAll(slices, s => s.HasEscalated) is { Length: > 0 } escalated)
        {
            await ReadEscalatedAsync(run, escalated, stop);
        }
    }

    private static void TakeNotes(Dispatch dispatch, SliceRun[] slices)
    {
        foreach (var note in dispatch.Notes ?? [])
        {
            if (note.Slice >= 0 && note.Slice < slices.Length)
            {
                var slice = slices[note.Slice];
                (slice.ReplyTo, slice.FirstSeq, slice.QueuedAt) = (note.ReplyTo, note.FirstSeq, note.QueuedAt);
                (slice.Payload, slice.Step, slice.Traceparent) = (note.Payload, note.Step, note.Traceparent);
            }
        }
    }

    private async Task ReadRowsAsync(Dispatch dispatch, SliceRun[] slices, CancellationToken stop)
    {
        var asked = Enumerable.Range(0, slices.Length).Where(i => slices[i].Payload is null).ToArray();
        var found = new bool[slices.Length];
        var shortOfTasks = new List<SliceRun>();
        await using (var command = ReadChunks([.. asked.Select(i => dispatch.Slices[i])]))
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            while (await reader.ReadAsync(stop))
            {
                var at = asked[(int)reader.GetInt64(0) - 1];
                var slice = slices[at];
                found[at] = true;
                slice.FirstSeq = reader.GetInt32(1);
                slice.QueuedAt = reader.GetFieldValue<DateTimeOffset>(6);
                slice.HasBudget = reader.GetBoolean(7);
                slice.Cache = reader.IsDBNull(8) ? null : new TenantId(reader.GetGuid(8));
                slice.Traceparent ??= reader.IsDBNull(15) ? null : telemetry.TraceOf(reader.GetString(15), slice.Slice.No);
                ReadRoute(slice, reader);
                var (tasks, remaining, runs) = (reader.GetInt32(2), reader.GetInt32(3), reader.GetBoolean(4));
                if (remaining == 0)
                {
                    slice.Open = 0;
                }
                else if (!runs)
                {
                    (slice.HandedBack, slice.Open) = (true, 0);
                }
                else
                {
                    slice.Payload = reader.GetFieldValue<byte[]>(5);
                    if (remaining < tasks)
                    {
                        shortOfTasks.Add(slice);
                    }
                }
            }
        }

        foreach (var i in asked)
        {
            if (!found[i])
            {
                // Its job is gone, and so is everybody who could ask for it.
                slices[i].Open = 0;
            }
        }

        if (shortOfTasks.Count > 0)
        {
            await ReadEndedAsync(shortOfTasks, stop);
        }
    }

    private static void ReadRoute(SliceRun slice, NpgsqlDataReader reader)
    {
        if (reader.IsDBNull(9))
        {
            return;
        }

        var accept = reader.IsDBNull(12) ? null : JsonSerializer.Deserialize<Acceptance>(reader.GetString(12), ModelRoute.Json);
        slice.Step = new RouteStep(reader.GetInt16(9), accept, reader.IsDBNull(13) ? null : ModelRef.Parse(reader.GetString(13)));
        slice.Places = TaskBits.Places(reader.IsDBNull(10) ? null : reader.GetFieldValue<byte[]>(10));
        slice.Root = reader.IsDBNull(11) ? null : reader.GetInt32(11);
        slice.HasEscalated = reader.GetBoolean(14);
    }

    private NpgsqlCommand ReadChunks(IReadOnlyList<Slice> slices)
    {
        var command = database.CreateCommand(
            $"""
            SELECT s.at, c.first_seq, c.tasks, c.remaining, r.runs, CASE WHEN r.runs AND c.remaining > 0 THEN {ChunkSql.Payload} END,
                   coalesce(j.queued_at, j.created_at), j.max_cost_pico IS NOT NULL, CASE WHEN j.uses_cache THEN j.tenant END,
                   CASE WHEN j.route IS NOT NULL THEN c.turn END, c.own, c.root,
                   (j.route -> 'variants' -> (c.turn - 1) -> 'accept')::text, j.route -> 'variants' -> c.turn::int ->> 'model', c.escalated > 0,
                   j.traceparent
            FROM unnest($1, $2) WITH ORDINALITY AS s (job, no, at)
            JOIN chunks c ON c.job = s.job AND c.no = s.no
            JOIN jobs j ON j.id = s.job
            CROSS JOIN LATERAL (SELECT j.state IN ('queued', 'running') AS runs) AS r
            """
        );
        command.Parameters.Add(
            new() { Value = slices.Select(s => s.Job.Value).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid }
        );
        command.Parameters.Add(
            new() { Value = slices.Select(s => s.No).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Integer }
        );
        return command;
    }

    /// <summary>
    /// Promise 6: a slice that is planned again runs only the tasks that have no result yet, and have not left it for the next variant of
    /// their route. A statement a slice, so that each reads one partition.
    /// </summary>
    private async Task ReadEndedAsync(List<SliceRun> slices, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        foreach (var slice in slices)
        {
            var (first, last) = (slice.Slice.First, slice.Slice.First + slice.Slice.Count - 1);
            var command = new NpgsqlBatchCommand("SELECT seq FROM results WHERE job = $1 AND seq >= $2 AND seq <= $3")
            {
                Parameters =
                {
                    new() { Value = slice.Slice.Job.Value },
                    new() { Value = slice.FirstSeq + slice.PlaceOf(first) },
                    new() { Value = slice.FirstSeq + slice.PlaceOf(last) },
                },
            };
            if (slice.Step is { } step)
            {
                command.CommandText += " UNION ALL SELECT seq FROM turns WHERE job = $1 AND seq >= $2 AND seq <= $3 AND turn = $4";
                command.Parameters.Add(new() { Value = (short)step.Turn });
            }

            batch.BatchCommands.Add(command);
        }

        await using var reader = await batch.ExecuteReaderAsync(stop);
        foreach (var slice in slices)
        {
            var seqs = new HashSet<int>();
            while (await reader.ReadAsync(stop))
            {
                seqs.Add(reader.GetInt32(0));
            }

            var asked = Enumerable.Range(slice.Slice.First, slice.Slice.Count);
            slice.Ended = [.. asked.Where(i => seqs.Contains(slice.FirstSeq + slice.PlaceOf(i)))];
            slice.Open = slice.Slice.Count - slice.Ended.Count;
            await reader.NextResultAsync(stop);
        }
    }

    /// <summary>
    /// A slice some of whose tasks have escalated is planned again where its worker died, perhaps before it could tell of the chunks that it
    /// made for them: so they are told of once more, with this dispatch.
    /// </summary>
    private async Task ReadEscalatedAsync(DispatchRun run, SliceRun[] slices, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        foreach (var slice in slices)
        {
            batch.BatchCommands.Add(
                new(
                    """
                    SELECT c.no, j.tenant, c.model, j.class, j.deadline, coalesce(j.queued_at, j.created_at), c.tasks, c.units, c.units_max
                    FROM chunks c JOIN jobs j ON j.id = c.job
                    WHERE c.job = $1 AND c.first_seq = $2 AND c.turn = $3 AND c.remaining > 0 AND c.root IS NOT NULL
                    """
                )
                {
                    Parameters =
                    {
                        new() { Value = slice.Slice.Job.Value },
                        new() { Value = slice.FirstSeq },
                        new() { Value = (short)(slice.Step!.Turn + 1) },
                    },
                }
            );
        }

        await using var reader = await batch.ExecuteReaderAsync(stop);
        foreach (var slice in slices)
        {
            while (await reader.ReadAsync(stop))
            {
                var chunk = new ChunkSubmitted
                {
                    Job = slice.Slice.Job,
                    No = reader.GetInt32(0),
                    Tenant = new TenantId(reader.GetGuid(1)),
                    Model = ModelRef.Parse(reader.GetString(2)),
                    Class = LatencyClasses.TryParse(reader.GetString(3), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
                    Deadline = reader.GetFieldValue<DateTimeOffset>(4),
                    QueuedAt = reader.GetFieldValue<DateTimeOffset>(5),
                    FirstSeq = slice.FirstSeq,
                    Tasks = reader.GetInt32(6),
                    Units = reader.GetInt64(7),
                    UnitsMax = reader.GetInt32(8),
                };
                run.Escalated(new OpenedChunk(slice.Slice.Chunk, chunk));
            }

            await reader.NextResultAsync(stop);
        }
    }
}
