using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>
/// Waits until the rollups have all that is committed. What may be read ends at the server's oldest open transaction, also one of another
/// test's database, and nobody tells when that ends: so it is asked again.
/// </summary>
internal static class RolledUp
{
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(5);

    public static async Task Async(TestDatabase db, int rowsMax = 100)
    {
        await NothingIsOpenAsync(db);
        do
        {
            while (await Rollups.TurnAsync(db.DataSource, rowsMax) == RollupTurn.MoreWaits)
            {
                // There is more.
            }
        } while (await db.ScalarAsync<bool>(WaitsSql));
    }

    /// <summary>Returns when no transaction is open any more that was at the time of the call.</summary>
    public static async Task NothingIsOpenAsync(TestDatabase db)
    {
        var now = await db.ScalarAsync<string>("SELECT pg_current_xact_id()::text");
        while (!await db.ScalarAsync<bool>("SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8", now!))
        {
            await Task.Delay(Again);
        }
    }

    private const string WaitsSql = """
        SELECT EXISTS (SELECT FROM endings e WHERE e.xid > r.xid) OR EXISTS (SELECT FROM ledger l WHERE l.xid > r.xid)
            OR EXISTS (SELECT FROM events v WHERE v.type IN ('job.completed', 'job.expired') AND v.xid > r.xid)
        FROM rollups r
        """;
}
