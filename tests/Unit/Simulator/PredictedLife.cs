using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;

namespace Pipeline.Tests.Unit.Simulator;

/// <summary>
/// The real policy in a simulated world, with a door that predicts each job as ingest does: from the last forecast, a fifth of a second old at most, corrected
/// by what became of the jobs that ended before. What was predicted is held against what happened.
/// </summary>
internal sealed class PredictedLife(Planner planner) : IPolicy
{
    private static readonly TimeSpan ForecastEvery = new SchedulerOptions().ForecastEvery;
    private readonly Calibration _calibration = new(jobsMax: 200);
    private readonly Dictionary<JobId, OpenJob> _open = [];
    private Forecast? _forecast;

    /// <summary>Every job that has ended and had a prediction; the first of a class and model were predicted before anything was known of these.</summary>
    public List<(LatencyClass Class, ModelRef Model, double Error, bool Covered, bool IsFirst)> Scored { get; } = [];

    public double Coverage(Func<LatencyClass, bool> of) => Scored.Where(s => of(s.Class)).Average(s => s.Covered ? 1.0 : 0.0);

    public double Mape(Func<LatencyClass, bool> of) => Scored.Where(s => of(s.Class)).Average(s => Math.Abs(s.Error));

    public void Observe(Fact fact, DateTimeOffset time)
    {
        if (!(time - _forecast?.At < ForecastEvery))
        {
            _forecast = planner.Forecast(time);
            _calibration.Learn();
        }

        switch (fact)
        {
            case ChunkArrived { Chunk: var chunk }:
                Arrive(chunk);
                break;
            case DispatchEnded { Report: var report }:
                foreach (var slice in report.Slices.Where(slice => slice.Outcome == SliceOutcome.Done))
                {
                    End(slice, time);
                }

                break;
        }

        planner.Observe(fact, time);
    }

    public IReadOnlyList<Decision> Plan(DateTimeOffset time) => planner.Plan(time);

    public DateTimeOffset NextWake(DateTimeOffset time) => planner.NextWake(time);

    /// <summary>Its chunks come one after another; the last prediction is of all of them, from the forecast the first one met.</summary>
    private void Arrive(in ChunkHeader chunk)
    {
        if (!_open.TryGetValue(chunk.Job, out var job))
        {
            _open[chunk.Job] = job = new OpenJob(chunk.Class, chunk.Model, chunk.QueuedAt, _forecast!);
        }

        (job.Units, job.Tasks, job.Left) = (job.Units + chunk.Units, job.Tasks + chunk.Tasks, job.Left + chunk.Tasks);
        var estimated = Prediction.Estimate(job.Forecast, job.Model, job.Class, new(job.Units, job.Tasks), DateTimeOffset.MaxValue);
        job.IsFirst = _calibration.Of(job.Class, job.Model, default).Time is null;
        job.Predicted = estimated is { } e
            ? JobPrediction.Of(e, forecast => _calibration.Of(job.Class, job.Model, forecast), job.QueuedAt)
            : null;
    }

    private void End(SliceReport slice, DateTimeOffset time)
    {
        var job = _open[slice.Job];
        job.Left -= slice.Count;
        if (job.Left > 0 || job.Predicted is not { } told)
        {
            return;
        }

        var took = (time - job.QueuedAt).TotalMicroseconds;
        Scored.Add(
            (
                job.Class,
                job.Model,
                ((told.At - job.QueuedAt).TotalMicroseconds / took) - 1,
                time >= told.Early && time <= told.Late,
                job.IsFirst
            )
        );
        _calibration.Observe(
            new EndedJob(job.Class, job.Model, told.Forecast, took, time < told.Early, time > told.Late, null, null, time)
        );
    }

    private sealed class OpenJob(LatencyClass latencyClass, ModelRef model, DateTimeOffset queuedAt, Forecast forecast)
    {
        public LatencyClass Class => latencyClass;
        public ModelRef Model => model;
        public DateTimeOffset QueuedAt => queuedAt;
        public Forecast Forecast => forecast;
        public long Units { get; set; }
        public long Tasks { get; set; }
        public long Left { get; set; }
        public bool IsFirst { get; set; }
        public JobPrediction? Predicted { get; set; }
    }
}
