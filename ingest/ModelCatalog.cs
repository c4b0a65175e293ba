using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// The registered models, read again every few seconds and whenever a name is asked for that is not known yet.
/// </summary>
internal sealed class ModelCatalog(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    /// <summary>Models named in a message at most.</summary>
    private const int NamesMax = 50;

    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);

    /// <summary>Requests for a model that does not exist read the table this often at most.</summary>
    private static readonly TimeSpan ReadAgainAfter = TimeSpan.FromMilliseconds(100);

    private readonly SemaphoreSlim _reading = new(1, 1);
    private Known _known = new([], null);

    /// <summary>The model of that name, at its current version, or of that <c>name@version</c>; null where none is registered.</summary>
    public async ValueTask<ModelManifest?> FindAsync(string nameOrRef, CancellationToken stop)
    {
        var known = await ReadAsync(FreshFor, stop);
        return known.Find(nameOrRef) ?? (await ReadAsync(ReadAgainAfter, stop)).Find(nameOrRef);
    }

    /// <summary>As it was read last, without a query; null where it was not there then.</summary>
    public ModelManifest? Remembered(string nameOrRef) => _known.Find(nameOrRef);

    /// <summary>Every registered version as <c>name@version</c>.</summary>
    public async ValueTask<IReadOnlyList<string>> NamesAsync(CancellationToken stop) =>
        [.. (await ReadAsync(FreshFor, stop)).Models.Select(m => m.Manifest.Ref.ToString())];

    /// <summary>The first of them as one text, for a message that says what exists.</summary>
    public async ValueTask<string> ListAsync(CancellationToken stop) =>
        await NamesAsync(stop) is { Count: > 0 } names ? string.Join(", ", names.Take(NamesMax)) : "there is none yet";

    public void Dispose() => _reading.Dispose();

    private async ValueTask<Known> ReadAsync(TimeSpan freshFor, CancellationToken stop)
    {
        if (_known.IsFresh(freshFor, time))
        {
            return _known;
        }

        await _reading.WaitAsync(stop);
        try
        {
            if (!_known.IsFresh(freshFor, time))
            {
                var at = time.GetTimestamp();
                _known = new Known(await ModelRegistry.ReadAllAsync(database, stop), at);
            }

            return _known;
        }
        finally
        {
            _reading.Release();
        }
    }

    private sealed record Known(IReadOnlyList<RegisteredModel> Models, long? ReadAt)
    {
        public bool IsFresh(TimeSpan freshFor, TimeProvider time) => ReadAt is { } at && time.GetElapsedTime(at) < freshFor;

        public ModelManifest? Find(string nameOrRef) =>
            nameOrRef.Contains('@', StringComparison.Ordinal)
                ? Models.FirstOrDefault(m => m.Manifest.Ref.ToString() == nameOrRef)?.Manifest
                : Models.FirstOrDefault(m => m.Manifest.Name == nameOrRef && m.Current)?.Manifest;
    }
}
