using System.Diagnostics.Metrics;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>What the instruments of a meter measure, from now on; each combination of labels with its sum, or its last value.</summary>
internal sealed class MeasuredValues : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly SortedDictionary<string, double> _values = new(StringComparer.Ordinal);

    public MeasuredValues(string meter)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name == meter)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.Start();
    }

    /// <summary>Reads the gauges anew.</summary>
    public void Look()
    {
        lock (_values)
        {
            _values.Clear();
        }

        _listener.RecordObservableInstruments();
    }

    /// <summary>Values of a metric by their labels, as <c>bulk,language-id</c>.</summary>
    public IReadOnlyDictionary<string, double> Of(Metric metric)
    {
        lock (_values)
        {
            return _values
                .Where(value => value.Key.StartsWith($"{metric.Name}|", StringComparison.Ordinal))
                .ToDictionary(value => value.Key[(metric.Name.Length + 1)..], value => value.Value);
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Take(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var key = $"{instrument.Name}|{string.Join(',', tags.ToArray().Select(tag => tag.Value))}";
        lock (_values)
        {
            _values[key] = instrument.IsObservable ? value : _values.GetValueOrDefault(key) + value;
        }
    }
}
