using System.Buffers.Binary;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Results;

namespace Pipeline.GpuWorker.Models.Registration;

/// <summary>How long a profile may take and how finely it looks.</summary>
internal sealed record ProfileOptions
{
    /// <summary>Runs of every batch size, of which the median counts; 1 to 1000.</summary>
    public int RunsPerPoint { get; init; } = 5;

    /// <summary>A batch that takes longer than this is the largest tried; more than 0.</summary>
    public TimeSpan BatchTimeMax { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>No further batch size is begun after this; more than 0.</summary>
    public TimeSpan TimeMax { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Rows whose results are compared alone and in a batch; 2 to 1024.</summary>
    public int DriftRows { get; init; } = 8;

    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(RunsPerPoint, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(RunsPerPoint, 1000);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(BatchTimeMax, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(TimeMax, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(DriftRows, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(DriftRows, 1024);
    }
}

/// <summary>Measures what batches of a model cost its device, and how far batching moves results.</summary>
internal sealed class ModelProfiler(OnnxModel model, ProfileOptions options, TimeProvider time)
{
    /// <param name="samples">Stored inputs to measure with; made up where there are none.</param>
    /// <param name="stop">Ends the run on the device.</param>
    /// <exception cref="TaskInputException">A sample does not suit the model.</exception>
    /// <exception cref="OnnxRuntime.OnnxRuntimeException">The model failed on a sample.</exception>
    public ModelProfile Measure(IReadOnlyList<ReadOnlyMemory<byte>> samples, CancellationToken stop)
    {
        options.Validate();
        var points = new List<ProfilePoint>();
        var start = time.GetTimestamp();
        foreach (var series in Series(samples))
            MeasureSeries(series, points, start, stop);
        var (alpha, beta) = Fit(points);
        return new ModelProfile
        {
            Provider = model.Provider,
            Device = model.Device,
            Points = points,
            AlphaNs = alpha,
            BetaNs = beta,
            BatchDrift = MeasureDrift(samples, stop),
            MemoryBytes = model.MemoryBytes,
        };
    }

    /// <summary>
    /// The line α + β·units that misses the points least, each weighed by its own size: a model that is 10 % off for small batches is as
    /// bad as one that is 10 % off for large ones. Neither α nor β is negative.
    /// </summary>
    public static (double AlphaNs, double BetaNs) Fit(IReadOnlyList<ProfilePoint> points)
    {
        double ones = 0,
            units = 0,
            squares = 0,
            times = 0,
            products = 0;
        foreach (var point in points)
        {
            double t = Math.Max(1, point.DeviceNs),
                u = point.PaddedUnits,
                weight = 1 / (t * t);
            ones += weight;
            units += weight * u;
            squares += weight * u * u;
            times += weight * t;
            products += weight * u * t;
        }

        var determinant = (ones * squares) - (units * units);
        // One size only, in floating point: nothing tells the fixed part from the rest.
        if (determinant <= 1e-9 * ones * squares)
            return (0, products / squares);
        var alpha = ((times * squares) - (products * units)) / determinant;
        var beta = ((ones * products) - (units * times)) / determinant;
        return (alpha, beta) switch
        {
            (< 0, _) => (0, products / squares),
            (_, < 0) => (times / ones, 0),
            _ => (alpha, beta),
        };
    }

    /// <summary>What batches are made of: the owner's samples; else texts of a middle length and of the longest; else one tensor.</summary>
    private IEnumerable<PreparedTask[]> Series(IReadOnlyList<ReadOnlyMemory<byte>> samples)
    {
        if (samples.Count > 0)
        {
            yield return OneKey(samples);
            yield break;
        }
        var longest = SampleInputs.LengthMax(model.Manifest);
        foreach (var length in new[] { Math.Max(Math.Min(longest, 4), longest / 4), longest }.Distinct())
            yield return [model.Prepare(SampleInputs.Make(model.Manifest, length, seed: length))];
    }

    /// <summary>Prepared samples that stack with the first.</summary>
    private PreparedTask[] OneKey(IReadOnlyList<ReadOnlyMemory<byte>> samples)
    {
        PreparedTask[] tasks = [.. samples.Select(model.Prepare)];
        return [.. tasks.Where(task => task.ShapeKey == tasks[0].ShapeKey)];
    }

    private void MeasureSeries(PreparedTask[] series, List<ProfilePoint> points, long start, CancellationToken stop)
    {
        var limits = model.Manifest.Limits;
        foreach (var rows in RowCounts())
        {
            var tasks = new PreparedTask[rows];
            for (var i = 0; i < rows; i++)
                tasks[i] = series[i % series.Length];
            var fits = rows == 1 || model.FixedRows > 0 || rows * (long)tasks.Max(task => task.Units) <= limits.PaddedUnitsMax;
            if (!fits || (points.Count > 0 && time.GetElapsedTime(start) > options.TimeMax))
                return;
            var point = MeasurePoint(tasks, stop);
            points.Add(point);
            if (point.DeviceNs > options.BatchTimeMax.Ticks * 100)
                return;
        }
    }

    /// <summary>1, 2, 4, … and the most; or the one that the graph fixes.</summary>
    private IEnumerable<int> RowCounts()
    {
        if (model.FixedRows > 0)
        {
            yield return model.FixedRows;
            yield break;
        }
        var most = model.Manifest.Limits.BatchRowsMax;
        for (var rows = 1; rows < most; rows *= 2)
            yield return rows;
        yield return most;
    }

    private ProfilePoint MeasurePoint(PreparedTask[] tasks, CancellationToken stop)
    {
        var runs = new long[options.RunsPerPoint];
        var paddedUnits = 0L;
        for (var run = -1; run < runs.Length; run++)
        {
            var batch = model.Pack(tasks);
            paddedUnits = batch.PaddedUnits;
            var from = time.GetTimestamp();
            using var ran = model.RunRaw(batch, stop);
            // The first run of a size plans its memory; it is not counted.
            if (run >= 0)
                runs[run] = (long)time.GetElapsedTime(from).TotalNanoseconds;
        }
        Array.Sort(runs);
        return new ProfilePoint(tasks.Length, paddedUnits, runs[runs.Length / 2]);
    }

    /// <summary>The largest difference between a row alone and the same row among others, of other lengths where they may differ.</summary>
    private double MeasureDrift(IReadOnlyList<ReadOnlyMemory<byte>> samples, CancellationToken stop)
    {
        if (model.FixedRows == 1)
            return 0;
        var tasks = DriftTasks(samples);
        using var together = model.RunRaw(model.Pack(tasks), stop);
        var drift = 0.0;
        for (var row = 0; row < tasks.Length; row++)
        {
            using var alone = model.RunRaw(model.Pack([tasks[row]]), stop);
            drift = Math.Max(drift, Distance(Numbers(alone, 0), Numbers(together, row)));
        }
        return drift;
    }

    private PreparedTask[] DriftTasks(IReadOnlyList<ReadOnlyMemory<byte>> samples)
    {
        var rows = model.FixedRows > 0 ? model.FixedRows : Math.Min(options.DriftRows, Math.Max(2, model.Manifest.Limits.BatchRowsMax));
        if (samples.Count > 0)
        {
            var given = OneKey(samples);
            return [.. Enumerable.Range(0, Math.Min(rows, Math.Max(2, given.Length))).Select(i => given[i % given.Length])];
        }
        var longest = SampleInputs.LengthMax(model.Manifest);
        return
        [
            .. Enumerable
                .Range(1, rows)
                .Select(i => model.Prepare(SampleInputs.Make(model.Manifest, Math.Max(1, longest * i / rows), seed: i))),
        ];
    }

    private static double Distance(double[] first, double[] second)
    {
        // Outputs whose very shape depends on the batch have moved without measure.
        if (first.Length != second.Length)
            return double.MaxValue;
        var largest = 0.0;
        for (var i = 0; i < first.Length; i++)
        {
            var distance = Math.Abs(first[i] - second[i]);
            if (distance > largest)
                largest = distance;
        }
        return largest;
    }

    private static double[] Numbers(BatchOutputs outputs, int row) =>
        [.. PackedTensors.Read(new RawResult().Make(outputs, row).Bytes).SelectMany(Numbers)];

    private static double[] Numbers(PackedTensor tensor)
    {
        if (tensor.Type is TensorElementType.String or TensorElementType.Complex64 or TensorElementType.Complex128)
            return [];
        var numbers = new double[tensor.Elements];
        var size = tensor.Type.Size();
        for (var i = 0; i < numbers.Length; i++)
        {
            var element = tensor.Data.Span.Slice(i * size, size);
            numbers[i] = tensor.Type switch
            {
                TensorElementType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(element),
                TensorElementType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(element),
                TensorElementType.Float16 => (double)BinaryPrimitives.ReadHalfLittleEndian(element),
                TensorElementType.BFloat16 => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(element) << 16),
                TensorElementType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(element),
                TensorElementType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(element),
                TensorElementType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(element),
                TensorElementType.Int8 => (sbyte)element[0],
                TensorElementType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(element),
                TensorElementType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(element),
                TensorElementType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(element),
                _ => element[0],
            };
        }
        return numbers;
    }
}
