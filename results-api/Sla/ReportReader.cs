using System.Data;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>A report needs sums that are removed by now.</summary>
internal sealed class SlaRemovedException(SlaSpan span)
    : Exception($"The sums by {(span.Grain == SlaGrain.Minute ? "the minute" : "the hour")} of {span.From:O} to {span.To:O} are removed.")
{
    /// <summary>What the report's edges have to be whole ones of.</summary>
    public string Whole => span.Grain == SlaGrain.Minute ? "hours of UTC" : "days of UTC";
}

/// <summary>
/// Reads what a report is made of, all of it from one snapshot: the sums of the window by tenant, class and model, those of its periods by class, and
/// what is counted beside them.
/// </summary>
internal sealed class ReportReader(NpgsqlDataSource database, SlaOptions options)
{
    /// <summary>Times of a period that are shown; leaving the others out spares most of the bytes.</summary>
    private static readonly SlaTime[] PeriodTimes = [SlaTime.Total];

    /// <param name="tenant">Only of this one; null for all.</param>
    public async Task<ReportData> ReadAsync(
        ReportWindow window,
        TenantId? tenant,
        IReadOnlyList<Objective> objectives,
        CancellationToken stop
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, stop);
        using var hash = new SourceHash();
        hash.Add(ReportMaker.Method).Add(window.From).Add(window.To).Add(window.Zone.Id);
        foreach (var objective in objectives)
        {
            hash.Add(objective.ToString());
        }

        var names = await NamesAsync(connection, stop);
        var exclusions = await SlaExclusions.ReadAsync(connection, window.From, window.To, stop);
        foreach (var exclusion in exclusions)
        {
            hash.Add(exclusion.Id).Add(exclusion.FromAt).Add(exclusion.ToAt).Add(exclusion.Reason);
        }

        var excluded = exclusions.Select(e => new Interval(e.FromAt, e.ToAt)).ToList();
        var counted = Interval.Without(window.From, window.To, excluded);
        await RefuseRemovedAsync(connection, window, excluded, counted, stop);
        var sums = await SumsAsync(connection, counted, tenant, hash, stop);
        var scope = new Scope(connection, counted, tenant, names, hash);
        var data = new ReportData
        {
            Window = window,
            Hours = counted.Sum(i => i.Minutes) / 60,
            Complete = await SlaStore.RolledUpAsync(connection, stop) >= window.To,
            Tenant = tenant is { } one ? Name(names, one) : null,
            SourceSha256 = "",
            Sums = [.. sums.Select(s => new KeyedSums(Name(names, s.Key.Tenant), s.Key.Class, s.Key.Model, s.Value))],
            Periods = await PeriodsAsync(connection, window, excluded, tenant, stop),
            Doors = await DoorsAsync(scope, stop),
            Callbacks = await CallbacksAsync(scope, stop),
            Outcomes = await OutcomesAsync(scope, window, stop),
            Exclusions = [.. exclusions.Select(ExclusionView.Of)],
            Breaches = await BreachesAsync(scope, sums, stop),
        };
        await transaction.CommitAsync(stop);
        return data with { SourceSha256 = hash.Finish() };
    }

    /// <summary>Sums that would lack what retention has removed are not given out.</summary>
    private static async Task RefuseRemovedAsync(
        NpgsqlConnection connection,
        ReportWindow window,
        IReadOnlyList<Interval> excluded,
        IReadOnlyList<Interval> counted,
        CancellationToken stop
    )
    {
        var periods = ReportCalendar.Periods(window.Unit, window.From, window.To, window.Zone);
        var intervals = counted.Concat(periods.SelectMany(p => Interval.Without(p.From, p.To, excluded)));
        if (await SlaRemovals.FirstRemovedAsync(connection, intervals.SelectMany(i => SlaSpan.Of(i.From, i.To)), stop) is { } span)
        {
            throw new SlaRemovedException(span);
        }
    }

    private static string Name(Dictionary<Guid, string> names, TenantId tenant) => names.GetValueOrDefault(tenant.Value, "unknown");

    private static async Task<Dictionary<Guid, string>> NamesAsync(NpgsqlConnection connection, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand("SELECT id, name FROM tenants", connection);
        await using var reader = await command.ExecuteReaderAsync(stop);
        var names = new Dictionary<Guid, string>();
        while (await reader.ReadAsync(stop))
        {
            names[reader.GetGuid(0)] = reader.GetString(1);
        }

        return names;
    }

    private static async Task<Dictionary<SlaKey, SlaSums>> SumsAsync(
        NpgsqlConnection connection,
        IReadOnlyList<Interval> counted,
        TenantId? tenant,
        SourceHash hash,
        CancellationToken stop
    )
    {
        var sums = new Dictionary<SlaKey, SlaSums>();
        foreach (var span in counted.SelectMany(i => SlaSpan.Of(i.From, i.To)))
        {
            await SlaStore.ReadAsync(
                connection,
                span,
                tenant,
                SlaSums.Times,
                (at, key, row) =>
                {
                    hash.Add(at, key, row);
                    row.AddTo(SlaStore.Of(sums, key));
                },
                stop
            );
        }

        return sums;
    }

    /// <summary>Periods are read in their order, neighbouring spans of the same rows at once.</summary>
    private static async Task<IReadOnlyList<PeriodSums>> PeriodsAsync(
        NpgsqlConnection connection,
        ReportWindow window,
        IReadOnlyList<Interval> excluded,
        TenantId? tenant,
        CancellationToken stop
    )
    {
        var periods = new List<PeriodSums>();
        var places = new List<(SlaSpan Span, int Period)>();
        foreach (var period in ReportCalendar.Periods(window.Unit, window.From, window.To, window.Zone))
        {
            var counted = Interval.Without(period.From, period.To, excluded);
            places.AddRange(counted.SelectMany(i => SlaSpan.Of(i.From, i.To)).Select(span => (span, periods.Count)));
            periods.Add(new PeriodSums(period, counted.Sum(i => i.Minutes) / 60, new Dictionary<LatencyClass, SlaSums>()));
        }

        var next = 0;
        while (next < places.Count)
        {
            var first = next;
            while (
                ++next < places.Count
                && places[next].Span.Grain == places[first].Span.Grain
                && places[next].Span.From == places[next - 1].Span.To
            )
            {
                // One query reads them all.
            }

            var place = first;
            var span = places[first].Span with { To = places[next - 1].Span.To };
            await SlaStore.ReadAsync(
                connection,
                span,
                tenant,
                PeriodTimes,
                (at, key, row) =>
                {
                    while (at >= places[place].Span.To)
                    {
                        place++;
                    }

                    row.AddTo(SlaStore.Of((Dictionary<LatencyClass, SlaSums>)periods[places[place].Period].Classes, key.Class));
                },
                stop
            );
        }

        return periods;
    }

    private static async Task<IReadOnlyList<DoorSums>> DoorsAsync(Scope scope, CancellationToken stop)
    {
        await using var command = scope.Command(
            $"""
            SELECT d.tenant, d.class, d.model, sum(d.accepted)::bigint, sum(d.limited)::bigint, sum(d.client_faults)::bigint, sum(d.failed)::bigint,
                   ARRAY[{string.Join(
                ", ",
                Enumerable.Range(1, SlaSums.BandsUs.Count + 1).Select(band => $"sum(d.disconnects[{band}])")
            )}]::bigint[]
            FROM sla_doors d JOIN unnest($1, $2) AS w (from_at, to_at) ON d.at >= w.from_at AND d.at < w.to_at
            WHERE $3::uuid IS NULL OR d.tenant = $3
            GROUP BY 1, 2, 3 ORDER BY d.tenant, d.class COLLATE "C", d.model
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var doors = new List<DoorSums>();
        while (await reader.ReadAsync(stop))
        {
            var latencyClass = Class(reader.GetString(1));
            var door = new DoorSums(
                Name(scope.Names, new TenantId(reader.GetGuid(0))),
                latencyClass,
                reader.GetString(2),
                reader.GetInt64(3),
                reader.GetInt64(4),
                reader.GetInt64(5),
                reader.GetInt64(6),
                reader.GetFieldValue<long[]>(7)
            );
            scope
                .Hash.Add(reader.GetGuid(0))
                .Add((long)latencyClass)
                .Add(door.Model)
                .Add(door.Accepted)
                .Add(door.Limited)
                .Add(door.ClientFaults)
                .Add(door.Failed);
            foreach (var gone in door.Disconnects)
            {
                scope.Hash.Add(gone);
            }

            doors.Add(door);
        }

        return doors;
    }

    private static async Task<IReadOnlyList<CallbackSums>> CallbacksAsync(Scope scope, CancellationToken stop)
    {
        await using var command = scope.Command(
            """
            SELECT c.tenant, sum(c.delivered)::bigint, sum(c.punctual)::bigint, sum(c.failed)::bigint
            FROM sla_callbacks c JOIN unnest($1, $2) AS w (from_at, to_at) ON c.at >= w.from_at AND c.at < w.to_at
            WHERE $3::uuid IS NULL OR c.tenant = $3
            GROUP BY 1 ORDER BY 1
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var callbacks = new List<CallbackSums>();
        while (await reader.ReadAsync(stop))
        {
            var sums = new CallbackSums(
                Name(scope.Names, new TenantId(reader.GetGuid(0))),
                reader.GetInt64(1),
                reader.GetInt64(2),
                reader.GetInt64(3)
            );
            scope.Hash.Add(reader.GetGuid(0)).Add(sums.Delivered).Add(sums.Punctual).Add(sums.Failed);
            callbacks.Add(sums);
        }

        return callbacks;
    }

    /// <summary>Groups whose first task was accepted in the window, whatever is excluded: an outcome says nothing of minutes.</summary>
    private static async Task<IReadOnlyList<OutcomeSums>> OutcomesAsync(Scope scope, ReportWindow window, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT b.band, count(*), count(accepted), count(*) FILTER (WHERE accepted), sum(value)
            FROM groups g
            CROSS JOIN LATERAL (
              SELECT count(*)::int AS band FROM unnest($4) AS l (us) WHERE g.last_at - g.first_at > l.us * interval '1 microsecond'
            ) b
            WHERE g.first_at >= $1 AND g.first_at < $2 AND ($3::uuid IS NULL OR g.tenant = $3)
            GROUP BY 1 HAVING count(accepted) > 0 ORDER BY 1
            """,
            scope.Connection
        );
        command.Parameters.Add(new() { Value = window.From, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = window.To, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(scope.TenantParameter());
        command.Parameters.Add(new() { Value = SlaSums.BandsUs.ToArray() });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var outcomes = new List<OutcomeSums>();
        while (await reader.ReadAsync(stop))
        {
            decimal? value = reader.IsDBNull(4) ? null : reader.GetDecimal(4);
            var sums = new OutcomeSums(reader.GetInt32(0), reader.GetInt64(1), reader.GetInt64(2), reader.GetInt64(3), (double?)value);
            scope.Hash.Add(sums.Band).Add(sums.Groups).Add(sums.Reported).Add(sums.Accepted);
            scope.Hash.Add(value?.ToString(System.Globalization.CultureInfo.InvariantCulture));
            outcomes.Add(sums);
        }

        return outcomes;
    }

    private async Task<BreachesView> BreachesAsync(Scope scope, Dictionary<SlaKey, SlaSums> sums, CancellationToken stop)
    {
        await using var command = scope.Command(
            """
            SELECT b.job, b.kind, b.at, b.tenant, b.class, b.model, b.state, b.queued_at, b.deadline, b.predicted_at, b.target_us, b.total_us,
                   b.tasks, b.failed, b.expired, b.queued_us, b.staged_us, b.device_us, b.worker_losses,
                   b.paused_us, b.announced_us, b.lost_us, b.unit_ps, b.usual_unit_ps
            FROM sla_breaches b JOIN unnest($1, $2) AS w (from_at, to_at) ON b.at >= w.from_at AND b.at < w.to_at
            WHERE $3::uuid IS NULL OR b.tenant = $3
            ORDER BY b.at, b.job, b.kind LIMIT $4
            """
        );
        command.Parameters.Add(new() { Value = options.BreachesCountedMax + 1 });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var (listed, causes, total) = (new List<BreachView>(), new Dictionary<BreachCause, long>(), 0L);
        var usual = new Dictionary<(LatencyClass, string), UsualTimes>();
        while (total < options.BreachesCountedMax && await reader.ReadAsync(stop))
        {
            var breach = Read(reader);
            if (!usual.TryGetValue((breach.Class, breach.Model), out var times))
            {
                var ofThese = sums.Where(s => s.Key.Class == breach.Class && s.Key.Model == breach.Model).Select(s => s.Value);
                usual[(breach.Class, breach.Model)] = times = UsualTimes.Of(SlaSums.Total(ofThese), breach.TargetUs);
            }

            var cause = BreachCauses.Of(breach, times);
            causes[cause] = causes.GetValueOrDefault(cause) + 1;
            scope.Hash.Add(breach.Job.Value).Add(breach.Kind).Add(breach.At).Add(breach.State).Add(breach.TotalUs).Add((long)cause);
            if (total++ < options.BreachesListedMax)
            {
                listed.Add(View(breach, cause, scope.Names));
            }
        }

        return new BreachesView
        {
            Total = total,
            CountedAll = !await reader.ReadAsync(stop),
            Causes =
            [
                .. causes
                    .OrderByDescending(c => c.Value)
                    .ThenBy(c => c.Key)
                    .Select(c => new CauseView { Cause = c.Key.Name(), Breaches = c.Value }),
            ],
            Data = listed,
        };
    }

    private static SlaBreachRow Read(NpgsqlDataReader row)
    {
        return new SlaBreachRow
        {
            Job = new JobId(row.GetGuid(0)),
            Kind = row.GetString(1),
            At = row.GetFieldValue<DateTimeOffset>(2),
            Tenant = new TenantId(row.GetGuid(3)),
            Class = Class(row.GetString(4)),
            Model = row.GetString(5),
            State = row.GetString(6),
            QueuedAt = row.GetFieldValue<DateTimeOffset>(7),
            Deadline = row.GetFieldValue<DateTimeOffset>(8),
            PredictedAt = row.IsDBNull(9) ? null : row.GetFieldValue<DateTimeOffset>(9),
            TargetUs = row.GetInt64(10),
            TotalUs = row.GetInt64(11),
            Tasks = row.GetInt32(12),
            Failed = row.GetInt32(13),
            Expired = row.GetInt32(14),
            QueuedUs = row.GetInt64(15),
            StagedUs = row.GetInt64(16),
            DeviceUs = row.GetInt64(17),
            WorkerLosses = row.GetInt32(18),
            PausedUs = row.GetInt64(19),
            AnnouncedUs = row.GetInt64(20),
            LostUs = row.GetInt64(21),
            UnitPs = row.IsDBNull(22) ? null : row.GetInt64(22),
            UsualUnitPs = row.IsDBNull(23) ? null : row.GetInt64(23),
        };
    }

    private static LatencyClass Class(string text) =>
        LatencyClasses.TryParse(text, out var latencyClass)
            ? latencyClass
            : throw new InvalidDataException($"There is no class \"{text}\".");

    private static BreachView View(SlaBreachRow breach, BreachCause cause, Dictionary<Guid, string> names)
    {
        var isJob = cause != BreachCause.Callback;
        return new BreachView
        {
            Job = breach.Job,
            At = breach.At,
            Class = breach.Class,
            Tenant = Name(names, breach.Tenant),
            Model = breach.Model,
            State = breach.State,
            Cause = cause.Name(),
            TargetMs = TimesView.Ms(breach.TargetUs)!.Value,
            TotalMs = TimesView.Ms(breach.TotalUs)!.Value,
            WaitingMs = isJob ? TimesView.Ms(breach.QueuedUs) : null,
            StagedMs = isJob ? TimesView.Ms(breach.StagedUs) : null,
            DeviceMs = isJob ? TimesView.Ms(breach.DeviceUs) : null,
            WritingMs = isJob ? TimesView.Ms(BreachCauses.WritingUs(breach)) : null,
        };
    }

    /// <summary>What the smaller queries share: the time that counts as $1 and $2, the tenant as $3.</summary>
    private sealed record Scope(
        NpgsqlConnection Connection,
        IReadOnlyList<Interval> Counted,
        TenantId? Tenant,
        Dictionary<Guid, string> Names,
        SourceHash Hash
    )
    {
        public NpgsqlCommand Command(string sql)
        {
            var command = new NpgsqlCommand(sql, Connection);
            command.Parameters.Add(Moments(Counted.Select(i => i.From)));
            command.Parameters.Add(Moments(Counted.Select(i => i.To)));
            command.Parameters.Add(TenantParameter());
            return command;
        }

        public NpgsqlParameter TenantParameter() =>
            new() { Value = (object?)Tenant?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid };

        private static NpgsqlParameter Moments(IEnumerable<DateTimeOffset> moments) =>
            new() { Value = moments.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.TimestampTz };
    }
}
