using System.Collections.Concurrent;
using Pipeline.Contracts;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// A model's name as a metric's label, without its version. The first <see cref="TelemetryOptions.ModelsMax"/> names that are met are told
/// apart, so that no client can make a metric grow by what it asks for.
/// </summary>
public sealed class ModelLabels(TelemetryOptions options)
{
    /// <summary>What all further models are counted as.</summary>
    public const string Other = "other";

    private readonly ConcurrentDictionary<string, string> _names = new(StringComparer.Ordinal);
    private int _count;

    public string Of(ModelRef model) => Of(model.Name);

    public string Of(string name)
    {
        if (_names.TryGetValue(name, out var known))
        {
            return known;
        }

        if (Volatile.Read(ref _count) >= options.ModelsMax)
        {
            return Other;
        }

        lock (_names)
        {
            if (_count < options.ModelsMax && _names.TryAdd(name, name))
            {
                _count++;
            }

            return _names.GetValueOrDefault(name, Other);
        }
    }
}
