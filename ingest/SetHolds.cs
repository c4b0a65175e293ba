using MassTransit;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// What operators hold and let go: a model, a tenant, a pool or a worker, each by its name with the reason. The row is committed, then the
/// scheduler is told, and its answer waited for. Held twice is held once, with the last reason.
/// </summary>
internal sealed class SetHolds(IBus bus, NpgsqlDataSource database, HeldWork held, IngestOptions options, TimeProvider time)
{
    private const int ByLengthMax = 100;

    private static readonly IReadOnlyList<ApiParameter> Parts =
    [
        ApiParameter.Path("kind", ApiType.Word([.. HoldKinds.All.Select(k => k.Name())]), "What it is."),
        ApiParameter.Path("name", ApiType.Text(), "The name of the model, tenant or pool; the id of the worker."),
    ];

    public static readonly ApiOperation Set = new(
        "hold",
        ApiTags.Fleet,
        "Holds a model, a tenant, a pool or a worker.",
        """
        Nothing more is dispatched for a held model (all its versions) or tenant, nor to a held pool or worker; what was dispatched ends, and a worker
        that has nothing left is drained. Work is accepted, and waits; its deadlines go on. `express` for a held model or tenant is refused with
        `held`. It lasts until it is let go, whatever is restarted; that of a worker as long as its process.
        `in_force` says that the scheduler decides by it already; where none answered in time it will when it is back, or after its next sweep.
        """
    )
    {
        Parameters = Parts,
        Bodies =
        [
            new(
                "application/json",
                typeof(HoldBody),
                "Why, and who wants it.",
                """{"reason": "The graphics card is exchanged.", "by": "night shift"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<HoldView>("The hold.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation Remove = new("removeHold", ApiTags.Fleet, "Lets what is held go on.", "May be asked again.")
    {
        Parameters = Parts,
        Answers = [new(StatusCodes.Status204NoContent, null, null, "It is not held.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly],
    };

    public async Task<IResult> SetAsync(string kind, string name, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, "reason", "by");
        if (fields is null)
        {
            return problem!;
        }

        var reason = Words(fields, "reason", HoldKinds.ReasonLengthMax, needed: true);
        var by = Words(fields, "by", ByLengthMax, needed: false);
        var known = Kind(kind, fields.Mistakes);
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        var hold = new HoldRow
        {
            Kind = known,
            Name = name,
            Reason = reason,
            By = by.Length > 0 ? by : "an operator",
            At = Moments.Now(time),
        };
        await SayHowItWasAsync(known, name, http);
        if (!await HoldStore.SetAsync(database, hold, http.RequestAborted))
        {
            return Problems.Result(FailureKind.UnknownRoute, $"There is no {kind} \"{Excerpt.Of(name)}\".", "name");
        }

        var inForce = await TellAsync(http.RequestAborted);
        return Results.Json(new HoldView(kind, name, reason, hold.By, hold.At, inForce), ApiJson.Options);
    }

    public async Task<IResult> RemoveAsync(string kind, string name, HttpContext http)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var known = Kind(kind, mistakes);
        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        await SayHowItWasAsync(known, name, http);
        await HoldStore.RemoveAsync(database, known, name, http.RequestAborted);
        await TellAsync(http.RequestAborted);
        return Results.NoContent();
    }

    private async Task SayHowItWasAsync(HoldKind kind, string name, HttpContext http)
    {
        var (was, _) = (await HoldStore.ReadAsync(database, http.RequestAborted)).FirstOrDefault(h =>
            h.Hold.Kind == kind && h.Hold.Name == name
        );
        http.WasBefore(was is null ? null : new HoldView(kind.Name(), name, was.Reason, was.By, was.At, InForce: true));
    }

    /// <summary>True when the scheduler answered that it knows.</summary>
    private Task<bool> TellAsync(CancellationToken stop)
    {
        held.Forget();
        return TellScheduler.AndWaitAsync<HoldsChanged, HoldsObserved>(bus, new(), options.HoldsWaitMax, stop);
    }

    private static HoldKind Kind(string text, Mistakes mistakes)
    {
        foreach (var kind in HoldKinds.All)
        {
            if (kind.Name() == text)
            {
                return kind;
            }
        }

        mistakes.Add("kind", string.Join(", ", HoldKinds.All.Select(k => k.Name())), $"\"{Excerpt.Of(text)}\"");
        return default;
    }

    private static string Words(BodyFields fields, string name, int lengthMax, bool needed)
    {
        var text = fields.Text(name)?.Trim() ?? "";
        if (text.Length > lengthMax || (needed && text.Length == 0) || text.Contains('\0', StringComparison.Ordinal))
        {
            fields.Mistakes.Add(name, $"{(needed ? 1 : 0)} to {lengthMax} characters", $"{text.Length} characters");
        }

        return text;
    }
}

/// <summary>The shapes that <see cref="SetHolds"/> reads and answers with.</summary>
internal sealed record HoldBody(string Reason, string? By = null);

internal sealed record HoldView(string Kind, string Name, string Reason, string By, DateTimeOffset At, bool InForce)
{
    public string Object { get; } = "hold";
}
