using System.Globalization;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// What operators hold, read again every few seconds. Express for a held model or tenant would be late for certain, so it is refused;
/// other work is accepted, and waits.
/// </summary>
internal sealed class HeldWork(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    private readonly Recent<IReadOnlyList<(HoldRow Hold, Guid? Tenant)>> _holds = new(
        async stop => await HoldStore.ReadAsync(database, stop),
        time
    );

    /// <summary>The hold that is on a tenant or on a model, if there is one.</summary>
    public async ValueTask<HoldRow?> FindAsync(TenantId tenant, string model, CancellationToken stop) =>
        (await _holds.GetAsync(stop))
            .FirstOrDefault(h => h.Tenant == tenant.Value || (h.Hold.Kind == HoldKind.Model && h.Hold.Name == model))
            .Hold;

    /// <summary>Its next answer is read anew: something was held or let go here.</summary>
    public void Forget() => _holds.Forget();

    public static ProblemResult Refuse(HoldRow hold) =>
        Problems.Result(
            FailureKind.Held,
            string.Create(
                CultureInfo.InvariantCulture,
                $"The {hold.Kind.Name()} \"{hold.Name}\" is held by {hold.By} since {hold.At.UtcDateTime:yyyy-MM-dd'T'HH:mm:ss'Z'}: \"{hold.Reason}\". Nothing was stored."
            ),
            hold.Kind.Name()
        );

    public void Dispose() => _holds.Dispose();
}
