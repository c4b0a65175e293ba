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

    private readonly Recent<IReadOnlyList<RegisteredModel>> _models = new(
        async stop => await ModelRegistry.ReadAllAsync(database, stop),
        time
    );

    /// <summary>The model of that name, at its current version, or of that <c>name@version</c>; null where none is registered.</summary>
    public ValueTask<ModelManifest?> FindAsync(string nameOrRef, CancellationToken stop) =>
        _models.FindAsync(models => Find(models, nameOrRef), stop);

    /// <summary>As it was read last, without a query; null where it was not there then.</summary>
    public ModelManifest? Remembered(string nameOrRef) => Find(_models.Last ?? [], nameOrRef);

    /// <summary>Every registered version as <c>name@version</c>.</summary>
    public async ValueTask<IReadOnlyList<string>> NamesAsync(CancellationToken stop) =>
        [.. (await _models.GetAsync(stop)).Select(m => m.Manifest.Ref.ToString())];

    /// <summary>The first of them as one text, for a message that says what exists.</summary>
    public async ValueTask<string> ListAsync(CancellationToken stop) =>
        await NamesAsync(stop) is { Count: > 0 } names ? string.Join(", ", names.Take(NamesMax)) : "there is none yet";

    public void Dispose() => _models.Dispose();

    private static ModelManifest? Find(IReadOnlyList<RegisteredModel> models, string nameOrRef) =>
        nameOrRef.Contains('@', StringComparison.Ordinal)
            ? models.FirstOrDefault(m => m.Manifest.Ref.ToString() == nameOrRef)?.Manifest
            : models.FirstOrDefault(m => m.Manifest.Name == nameOrRef && m.Current)?.Manifest;
}
