using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Routes;
using Pipeline.Ingest.Tasks;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>What a job would be: its work and, for every class, what it would take now.</summary>
internal sealed record EstimateView
{
    public string Object { get; } = "estimate";

    /// <summary>The model that the figures are of; of a route the first variant, and what goes on from it as <see cref="TurnsPerTask"/> says.</summary>
    public required ModelRef Model { get; init; }

    /// <summary>The route, as <c>name@version</c>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Route { get; init; }

    /// <summary>Of a route that was measured: its variants and itself, with what all tasks would cost by that measurement.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<ChoiceEstimate>? Choices { get; init; }

    /// <summary>
    /// Of a route that was measured: model executions of a task, which the figures are reckoned with. Absent where nothing was measured: they are
    /// then as if every answer of the first variant were accepted.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? TurnsPerTask { get; init; }
    public required long Tasks { get; init; }
    public required long Units { get; init; }

    /// <summary>Tasks whose input came before in the job: they get the result of the first, cost nothing and are charged as any other.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? RepeatedTasks { get; init; }

    /// <summary>Tasks whose units were counted, where the body was a sample; the rest is taken to be like them.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? SampledTasks { get; init; }
    public required DateTimeOffset Deadline { get; init; }

    /// <summary>When the scheduler told what it is made of.</summary>
    public required DateTimeOffset ForecastAt { get; init; }

    /// <summary>From the fastest to the cheapest.</summary>
    public required IReadOnlyList<ClassEstimate> Classes { get; init; }
}

/// <summary>What may answer for a route, and how good it was when it was measured.</summary>
/// <param name="Choice"><c>name@version</c> of a model, or of the route.</param>
/// <param name="Accuracy">Part of the tasks it answered rightly, 0 to 1.</param>
/// <param name="TurnsPerTask">Model executions of a task.</param>
/// <param name="CostPicoUsd">Pico-USD of all tasks, were they like those it was measured with.</param>
internal sealed record ChoiceEstimate(string Choice, double Accuracy, double TurnsPerTask, decimal CostPicoUsd);

/// <summary>What a job would take in one class; the times and costs are null while no live worker has the model.</summary>
internal sealed record ClassEstimate
{
    public required LatencyClass Class { get; init; }

    /// <summary>Whether a job like that would be let in now: <c>accepted</c>, <c>express_refused</c> or <c>hopeless</c>.</summary>
    public required string Admission { get; init; }
    public string? Pool { get; init; }
    public DateTimeOffset? StartsAt { get; init; }
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>Completed by then in 19 of 20 cases.</summary>
    public DateTimeOffset? LateAt { get; init; }

    /// <summary>From now to the expected completion.</summary>
    public double? Seconds { get; init; }

    /// <summary>Device time of the work and its padding, at the price of the pool.</summary>
    public long? CostPicoUsd { get; init; }

    /// <summary>At most this in 19 of 20 cases.</summary>
    public long? CostHighPicoUsd { get; init; }

    /// <summary>What it would be charged, by the price list of now.</summary>
    public required long PricePicoUsd { get; init; }
}

/// <summary>
/// <c>POST /v1/estimates</c>: what a job would take and cost in every class, before it is sent. The body is the job's own body, a sample
/// of it (with <c>tasks</c>, the number of all), or its shape: <c>{"model": "…", "shape": {"tasks": 1000000, "units": 40000000}}</c>.
/// Nothing is stored.
/// </summary>
internal sealed class Estimates(
    Admission admission,
    Forecasts forecasts,
    Calibrator calibrator,
    JobGate gate,
    PriceList prices,
    IngestOptions options,
    TimeProvider time
)
{
    private const string Shape = "shape";
    private const string Units = "units";
    private const string UnitsPerTask = "units_per_task";
    private const int BufferBytes = 64 * 1024;

    public async Task<IResult> HandleAsync(HttpContext http)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var parameters = JobParameters.From(http.Request, mistakes, JobParameters.OfEstimates);
        var isInline = SubmitJob.IsInline(http.Request, mistakes);
        var body = BodyStream.Open(http, mistakes);
        if (body is null || mistakes.Any)
        {
            return await admission.RefuseAsync(http.Tenant(), parameters, mistakes, http.RequestAborted);
        }

        try
        {
            var (work, refused) = await ReadAsync(http, parameters, mistakes, body, isInline);
            return refused ?? await EstimateAsync(work!, forecasts.Fresh, http.RequestAborted);
        }
        catch (InvalidDataException e)
        {
            return Problems.Result(FailureKind.InvalidRequest, $"The packed body cannot be read: {e.Message}");
        }
    }

    private async Task<(Work? Work, ProblemResult? Refused)> ReadAsync(
        HttpContext http,
        JobParameters parameters,
        Mistakes mistakes,
        Stream body,
        bool isInline
    )
    {
        var stop = http.RequestAborted;
        Count? count = null;
        await using var upload = new Upload(
            http.Tenant(),
            parameters,
            mistakes,
            admission,
            order => count = new Count(new RepeatedInputs(order.Reuse ? options.RepeatedInputsMax : 0)),
            options,
            hash: null
        );
        if (!isInline)
        {
            return await upload.ReadLinesAsync(body, BufferBytes, stop) is { } bad
                ? (null, bad)
                : Scaled(upload.Order!, count!, parameters);
        }

        if (await WholeBody.ReadAsync(body, options.InlineBodyBytesMax, stop) is not { } bytes)
        {
            mistakes.Add(null, $"a JSON body of at most {options.InlineBodyBytesMax} bytes; send more as application/x-ndjson", "more");
            return (null, Admission.Refuse(mistakes));
        }

        if (ShapeOf(bytes) is { } shape)
        {
            using (shape)
            {
                return await ReadShapeAsync(http.Tenant(), shape.RootElement, parameters, mistakes, stop);
            }
        }

        using var whole = new MemoryStream(bytes.ToArray());
        return await upload.ReadInlineAsync(whole, stop) is { } refused ? (null, refused) : Scaled(upload.Order!, count!, parameters);
    }

    /// <summary>The body, where it is an object with a shape; anything else is read, and its mistakes told, as a job's.</summary>
    private static JsonDocument? ShapeOf(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            var json = JsonDocument.Parse(bytes);
            if (
                !SurrogatePairs.HasHalfPair(bytes.Span)
                && json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty(Shape, out _)
            )
            {
                return json;
            }

            json.Dispose();
        }
        catch (JsonException)
        {
            // Told with its place where it is read as a job.
        }

        return null;
    }

    private async Task<(Work? Work, ProblemResult? Refused)> ReadShapeAsync(
        TenantId tenant,
        JsonElement body,
        JobParameters parameters,
        Mistakes mistakes,
        CancellationToken stop
    )
    {
        foreach (var member in body.EnumerateObject().Where(m => m.Name != Shape))
        {
            parameters.Take(member.Name, member.Value, default, mistakes);
        }

        var (tasks, units) = ReadShape(body.GetProperty(Shape), mistakes);
        if (parameters[JobParameters.Tasks] is { } twice)
        {
            mistakes.Add(JobParameters.Tasks, $"to be absent beside {Shape}, which tells it", $"\"{Excerpt.Of(twice)}\"");
        }

        var (order, refused) = await admission.AdmitAsync(tenant, parameters, mistakes, 0, stop);
        return refused is not null ? (null, refused) : (new Work(order!, units, null, null, new(units, tasks)), null);
    }

    private (long Tasks, long Units) ReadShape(JsonElement shape, Mistakes mistakes)
    {
        const string Form = "{\"tasks\": N, \"units\": N} or {\"tasks\": N, \"units_per_task\": N}";
        if (shape.ValueKind != JsonValueKind.Object)
        {
            mistakes.Add(Shape, Form, shape.ValueKind.ToString().ToLowerInvariant());
            return default;
        }

        foreach (var member in shape.EnumerateObject())
        {
            if (member.Name is not (JobParameters.Tasks or Units or UnitsPerTask))
            {
                mistakes.Add($"{Shape}.{Excerpt.Of(member.Name)}", Form, "an unknown name");
            }
        }

        var tasks = (long)Number(shape, JobParameters.Tasks, options.TasksMax, mistakes, whole: true);
        var total = shape.TryGetProperty(Units, out _);
        if (total == shape.TryGetProperty(UnitsPerTask, out _))
        {
            mistakes.Add(Shape, $"{Units} or {UnitsPerTask}, one of them", total ? "both" : "neither");
            return default;
        }

        const long UnitsMax = 1L << 50;
        var units = total
            ? Number(shape, Units, UnitsMax, mistakes, whole: true)
            : Number(shape, UnitsPerTask, UnitsMax / Math.Max(1, tasks), mistakes, whole: false) * tasks;
        return (tasks, (long)Math.Ceiling(units));
    }

    private static double Number(JsonElement shape, string name, double max, Mistakes mistakes, bool whole)
    {
        var given = shape.TryGetProperty(name, out var value);
        if (
            given
            && value.ValueKind == JsonValueKind.Number
            && value.GetDouble() is > 0 and var number
            && number <= max
            && (!whole || number == Math.Floor(number))
        )
        {
            return number;
        }

        mistakes.Add(
            $"{Shape}.{name}",
            string.Create(CultureInfo.InvariantCulture, $"{(whole ? "a whole number" : "a number")}, more than 0 and at most {max:0}"),
            given ? Excerpt.Of(value.GetRawText()) : "nothing"
        );
        return 0;
    }

    /// <summary>What was counted; of a sample, as many times as the whole is larger.</summary>
    private (Work? Work, ProblemResult? Refused) Scaled(JobOrder order, Count count, JobParameters parameters)
    {
        if (parameters[JobParameters.Tasks] is not { } text)
        {
            return (new Work(order, count.Units, null, count.Size.Copies, count.Size), null);
        }

        if (
            !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var tasks)
            || tasks < count.Size.Results
            || tasks > options.TasksMax
        )
        {
            var mistakes = new Mistakes(1);
            mistakes.Add(
                JobParameters.Tasks,
                $"a whole number from {count.Size.Results}, the tasks of the sample, to {options.TasksMax}",
                $"\"{Excerpt.Of(text)}\""
            );
            return (null, Admission.Refuse(mistakes));
        }

        var copies = Scale(count.Size.Copies);
        var size = new WorkSize(Scale(count.Size.Units), tasks - copies, copies);
        return (new Work(order, Scale(count.Units), count.Size.Results, copies, size), null);

        long Scale(long counted) => (long)Math.Ceiling((double)counted / count.Size.Results * tasks);
    }

    /// <summary>What the rest of a job would take from now on.</summary>
    public Task<IResult> OfRestAsync(JobOrder rest, long tasks, long units, Forecast? forecast, CancellationToken stop) =>
        EstimateAsync(new Work(rest, units, null, null, new(units, tasks)), forecast, stop);

    private async Task<IResult> EstimateAsync(Work work, Forecast? fresh, CancellationToken stop)
    {
        if (fresh is not { } forecast)
        {
            return Problems.Result(
                FailureKind.Unavailable,
                "Nothing can be estimated: no scheduler has told for a while how busy the workers are. Ask again soon; jobs are accepted meanwhile."
            );
        }

        var now = Moments.Now(time);
        var quality = work.Order.Quality;
        var classes = new List<ClassEstimate>();
        foreach (var latencyClass in Enum.GetValues<LatencyClass>())
        {
            var (priced, _) = await prices.PriceAsync(work.Order with { Class = latencyClass }, work.Units, now, stop);
            classes.Add(Of(forecast, work, latencyClass, priced.EstimatePico!.Value, now));
        }

        return Results.Json(
            new EstimateView
            {
                Model = work.Order.Model.Ref,
                Route = work.Order.Route?.ToString(),
                Choices = quality is null ? null : Choices(quality, work.Size.Results),
                TurnsPerTask = quality is null ? null : Math.Round(work.Order.Turns.PerTask, 6),
                Tasks = work.Size.Results,
                Units = work.Units,
                SampledTasks = work.SampledTasks,
                RepeatedTasks = work.Repeated,
                Deadline = work.Order.Deadline,
                ForecastAt = forecast.At,
                Classes = classes,
            },
            ApiJson.Options
        );
    }

    private static IReadOnlyList<ChoiceEstimate> Choices(RouteQuality quality, long tasks) =>
        [
            .. quality.Choices.Select(c => new ChoiceEstimate(
                c.Choice,
                c.Accuracy,
                c.TurnsPerTask,
                Math.Round((decimal)c.CostPerTaskPicoUsd * tasks)
            )),
        ];

    private ClassEstimate Of(Forecast forecast, Work work, LatencyClass latencyClass, long price, DateTimeOffset now)
    {
        var order = work.Order;
        var deadline = order.DeadlineGiven ? order.Deadline : now + LatencyClasses.Defaults[latencyClass].CompletionWindow;
        var ask = new AdmissionAsk(order.Model.Ref, latencyClass, null, work.Size, order.DeadlineGiven ? order.Deadline : null);
        var ruling = AdmissionRule.Decide(
            forecast,
            ask,
            LatencyClasses.Defaults,
            now,
            e => gate.Express(forecast, order, e, ask.Size, now)
        );
        var verdict =
            !gate.Refuses(ruling.Verdict) ? "accepted"
            : ruling.Verdict == AdmissionVerdict.ExpressRefused ? "express_refused"
            : "hopeless";
        var estimated = order.Turns.Estimate(forecast, order.Model.Ref, latencyClass, work.Size, deadline);
        return estimated is { } e && JobPrediction.Of(e, of => calibrator.Of(latencyClass, order.Model.Ref, of), now) is { } predicted
            ? new ClassEstimate
            {
                Class = latencyClass,
                Admission = verdict,
                Pool = e.Pool,
                StartsAt = predicted.Start,
                CompletedAt = predicted.At,
                LateAt = predicted.Late,
                Seconds = Math.Round((predicted.At - now).TotalSeconds, 6),
                CostPicoUsd = e.CostPico,
                CostHighPicoUsd = e.CostHighPico,
                PricePicoUsd = price,
            }
            : new ClassEstimate
            {
                Class = latencyClass,
                Admission = verdict,
                PricePicoUsd = price,
            };
    }

    /// <summary>The job that is asked about.</summary>
    /// <param name="Repeated">Tasks whose input came before; null where the inputs are not known.</param>
    /// <param name="Size">What of it runs, and what is copied.</param>
    private sealed record Work(JobOrder Order, long Units, long? SampledTasks, long? Repeated, WorkSize Size);

    /// <summary>Counts tasks, and lets them go.</summary>
    private sealed class Count(RepeatedInputs inputs) : IUploadSink
    {
        public long Units { get; private set; }

        public WorkSize Size { get; private set; }

        public bool IsDue => false;

        public void Add(ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input, int units, ReadOnlySpan<byte> group = default)
        {
            var isRepeated = inputs.FirstOf(input, (int)Size.Results) is not null;
            Units += units;
            Size = Size.With(units, isRepeated);
        }

        public ValueTask StoreAsync(CancellationToken stop) => ValueTask.CompletedTask;

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
