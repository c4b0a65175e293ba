using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// One account's share of one interval of a worker's clock. The intervals of a worker form one gap-free chain, and the rows of an
/// interval sum to its length and its price exactly: so the books close. Corrections are new rows: of the interval they correct, summing
/// to nothing. <c>ledger_difference</c>, a function of the database, says by how much the books of each worker do not close.
/// </summary>
public sealed class LedgerRow
{
    public long Id { get; set; }
    public required WorkerId Worker { get; set; }
    public required LedgerAccount Account { get; set; }

    /// <summary>The interval on the worker's monotonic clock, in nanoseconds.</summary>
    public required long FromNs { get; set; }
    public required long ToNs { get; set; }

    /// <summary>Time of the interval in this account.</summary>
    public required long Ns { get; set; }

    /// <summary>Pico-USD of the interval in this account.</summary>
    public required long Pico { get; set; }

    /// <summary>What kind of it: <c>lost</c>, <c>duplicate</c>, <c>bisected</c>, ….</summary>
    public string? Detail { get; set; }
    public required DateTimeOffset At { get; set; }

    /// <summary>The transaction, by which the books are rolled up (<see cref="Rollups"/>).</summary>
    public ulong Xid { get; set; }
}

internal sealed class LedgerTable : IEntityTypeConfiguration<LedgerRow>
{
    public void Configure(EntityTypeBuilder<LedgerRow> builder)
    {
        builder.ToTable(
            "ledger",
            t =>
            {
                t.HasCheckConstraint("ck_ledger_account", $"account IN ({Words.SqlList<LedgerAccount>(LedgerAccounts.Name)})");
                t.HasCheckConstraint("ck_ledger_interval", "from_ns >= 0 AND to_ns >= from_ns");
            }
        );
        builder.HasKey(l => l.Id);
        builder.Property(l => l.Id).UseIdentityAlwaysColumn();
        builder.HasOne<WorkerRow>().WithMany().HasForeignKey(l => l.Worker).OnDelete(DeleteBehavior.Cascade);

        // A worker's chain in order: what the check of the books walks.
        builder.HasIndex(l => new { l.Worker, l.FromNs }, "ix_ledger_worker");

        builder.Property(l => l.Xid).HasColumnType("xid8").HasDefaultValueSql("pg_current_xact_id()");
        builder.HasIndex(l => l.Xid, "ix_ledger_xid");
    }
}

/// <summary>One account's share of an interval that is being added.</summary>
public readonly record struct LedgerEntry(LedgerAccount Account, long Ns, long Pico, string? Detail = null);

/// <summary>Keeps the books of workers closed: every nanosecond of a worker's life is in one account, and costs what it costs.</summary>
public static class Ledger
{
    /// <summary>
    /// Extends a worker's chain from <paramref name="fromNs"/> to <paramref name="toNs"/>, in the caller's transaction. False when the
    /// chain does not end at <paramref name="fromNs"/> or the worker is no longer alive: it has been closed, and must drop what it has
    /// not committed and register anew.
    /// </summary>
    /// <param name="entries">Their times sum to the interval, their amounts to its <see cref="DevicePrices.Interval"/>.</param>
    /// <exception cref="ArgumentException">The entries do not sum to the interval.</exception>
    /// <exception cref="WrongPriceException">They do not sum to its price.</exception>
    public static async Task<bool> ExtendAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        WorkerId worker,
        long fromNs,
        long toNs,
        IReadOnlyList<LedgerEntry> entries,
        CancellationToken cancellationToken = default
    )
    {
        await using var batch = new NpgsqlBatch(connection, transaction);
        var extension = new LedgerExtension(worker, fromNs, toNs, entries);
        batch.BatchCommands.Add(extension.Command());
        return extension.Took(await batch.ExecuteScalarAsync(cancellationToken));
    }

    /// <summary>
    /// Closes a worker at its last sign of life, in the caller's transaction: what is open between its chain and its last heartbeat is
    /// waste. False when it was closed before.
    /// </summary>
    /// <param name="state">How it ended: <see cref="WorkerState.Stopped"/> or <see cref="WorkerState.Lost"/>.</param>
    public static async Task<bool> CloseAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        WorkerId worker,
        WorkerState state,
        DateTimeOffset now,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentOutOfRangeException.ThrowIfEqual((int)state, (int)WorkerState.Alive, nameof(state));
        if (await LockAsync(connection, transaction, worker, cancellationToken) is not var (accountedNs, uptimeNs, prices))
        {
            return false;
        }

        if (uptimeNs > accountedNs)
        {
            var open = new LedgerEntry(LedgerAccount.Waste, uptimeNs - accountedNs, prices.Interval(accountedNs, uptimeNs), state.Name());
            await ExtendAsync(connection, transaction, worker, accountedNs, uptimeNs, [open], cancellationToken);
        }

        await using var close = new NpgsqlCommand("UPDATE workers SET state = $2, ended_at = $3 WHERE id = $1", connection, transaction);
        close.Parameters.Add(new() { Value = worker.Value });
        close.Parameters.Add(new() { Value = state.Name() });
        close.Parameters.Add(new() { Value = now.ToUniversalTime() });
        await close.ExecuteNonQueryAsync(cancellationToken);
        return true;
    }

    private static async Task<(long AccountedNs, long UptimeNs, DevicePrices Prices)?> LockAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        WorkerId worker,
        CancellationToken cancellationToken
    )
    {
        await using var command = new NpgsqlCommand(
            $"SELECT accounted_ns, uptime_ns, {PoolPrices.OfWorkerSql} FROM workers w WHERE id = $1 AND state = 'alive' FOR UPDATE",
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = worker.Value });
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken)
            ? (reader.GetInt64(0), reader.GetInt64(1), PoolPrices.Read(reader.GetValue(2)))
            : null;
    }
}

/// <summary>An interval that a worker's chain is to be extended by, as a command that can share a round trip with others.</summary>
/// <param name="entries">Their times sum to the interval, their amounts to its <see cref="DevicePrices.Interval"/>.</param>
public sealed class LedgerExtension(WorkerId worker, long fromNs, long toNs, IReadOnlyList<LedgerEntry> entries)
{
    public IReadOnlyList<LedgerEntry> Entries => entries;

    /// <summary>Gives the worker's prices, or no row: see <see cref="Took"/>.</summary>
    /// <exception cref="ArgumentException">The entries do not sum to the interval.</exception>
    public NpgsqlBatchCommand Command()
    {
        var ns = entries.Sum(e => e.Ns);
        if (toNs < fromNs || ns != toNs - fromNs)
        {
            throw new ArgumentException($"Entries from {fromNs} to {toNs} ns sum to {ns} ns, expected {toNs - fromNs}.", nameof(entries));
        }

        var real = entries.Where(e => e.Ns != 0 || e.Pico != 0).ToArray();
        return new(
            $"""
            WITH extended AS (
              UPDATE workers SET accounted_ns = $3 WHERE id = $1 AND accounted_ns = $2 AND state = 'alive'
              RETURNING id, pool, started_at, price_per_hour_pico
            ), written AS (
              INSERT INTO ledger (worker, account, from_ns, to_ns, ns, pico, detail, at)
              SELECT w.id, e.account, $2, $3, e.ns, e.pico, e.detail, now()
              FROM extended w, unnest($4, $5, $6, $7) AS e (account, ns, pico, detail)
            )
            SELECT {PoolPrices.OfWorkerSql} FROM extended w
            """
        )
        {
            Parameters =
            {
                new() { Value = worker.Value },
                new() { Value = fromNs },
                new() { Value = toNs },
                new() { Value = real.Select(e => e.Account.Name()).ToArray() },
                new() { Value = real.Select(e => e.Ns).ToArray() },
                new() { Value = real.Select(e => e.Pico).ToArray() },
                new() { Value = real.Select(e => e.Detail).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text },
            },
        };
    }

    /// <summary>Takes the command's answer. False: the transaction must not be committed (see <see cref="Ledger.ExtendAsync"/>).</summary>
    /// <exception cref="WrongPriceException">The entries do not sum to the interval's price.</exception>
    public bool Took(object? answer)
    {
        if (answer is null)
        {
            return false;
        }

        var prices = PoolPrices.Read(answer);
        var (pico, expected) = (entries.Sum(e => e.Pico), prices.Interval(fromNs, toNs));
        return pico == expected
            ? true
            : throw new WrongPriceException($"Entries from {fromNs} to {toNs} ns sum to {pico} pico-USD, expected {expected}.", prices);
    }
}

/// <summary>Entries were priced otherwise than the pool's prices say now: price them anew, and try again.</summary>
public sealed class WrongPriceException(string message, DevicePrices prices) : ArgumentException(message)
{
    /// <summary>What the worker's device costs over its life.</summary>
    public DevicePrices Prices { get; } = prices;
}
