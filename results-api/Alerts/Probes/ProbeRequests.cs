using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary><c>/v1/probes</c>, for operators: requests with known answers that are sent through the public door again and again.</summary>
internal static partial class ProbeRequests
{
    private const int ModelMax = 200;

    public static void MapProbes(this IEndpointRouteBuilder operators)
    {
        operators.MapGet("/probes", ListAsync).Describe(ProbeOperations.List);
        operators.MapGet("/probes/{name}", GetAsync).Describe(ProbeOperations.Get);
        operators.MapPut("/probes/{name}", PutAsync).Describe(ProbeOperations.Put);
        operators.MapDelete("/probes/{name}", DeleteAsync).Describe(ProbeOperations.Delete);
        operators.MapPost("/probes/{name}/run", RunAsync).Describe(ProbeOperations.Run);
        operators.MapGet("/probes/{name}/runs", RunsAsync).Describe(ProbeOperations.Runs);
    }

    private static ProblemResult Unknown(string name) =>
        Problems.Result(FailureKind.UnknownProbe, $"There is no probe \"{name}\".", "name");

    private static async Task<IResult> ListAsync(HttpContext http, ProbeStore store, ProbeOptions options)
    {
        var probes = await store.ListAsync(null, http.RequestAborted);
        return Answer(ListView.Of(probes, options.ProbesMax, probe => probe.Name));
    }

    private static async Task<IResult> GetAsync(string name, HttpContext http, ProbeStore store) =>
        await store.ListAsync(name, http.RequestAborted) is [var probe] ? Answer(probe) : Unknown(name);

    private static async Task<IResult> PutAsync(string name, HttpContext http, ProbeStore store, ProbeOptions options, TimeProvider time)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var probe = problem is null ? Read(name, body, options, time.GetUtcNow()) : null;
        if (probe is null)
        {
            return problem ?? body.Refusal()!;
        }

        http.WasBefore((await store.ListAsync(name, http.RequestAborted)).FirstOrDefault());
        return await store.PutAsync(probe, http.RequestAborted)
            ? await GetAsync(name, http, store)
            : Problems.Result(
                FailureKind.InvalidRequest,
                $"There are at most {options.ProbesMax} probes. Delete one that is no longer needed."
            );
    }

    /// <summary>Reads a probe; null where something is wrong with it, which is kept in the body.</summary>
    internal static ProbeView? Read(string name, JsonBody body, ProbeOptions options, DateTimeOffset now)
    {
        var model = body.Text("model", ModelMax);
        var latencyClass = body.Word("class", [.. Enum.GetValues<LatencyClass>().Select(c => c.Name())]) ?? LatencyClass.Express.Name();
        var input = body.Any("input");
        var expect = body.Any("expect");
        var tolerance = body.Number("tolerance", 0, 1e9) ?? 0.001;
        var every = body.Whole("every_seconds", 1, 86_400) ?? 60;
        var slow = body.Whole("slow_ms", 1, (int)options.TimeMax.TotalMilliseconds) ?? 500;
        var enabled = body.Flag("enabled") ?? true;
        if (!NameForm().IsMatch(name))
        {
            body.Refuse("name", "1 to 64 of a to z, 0 to 9, - and _", name);
        }

        if (string.IsNullOrEmpty(model))
        {
            body.Refuse("model", "a model, a version or a route", "nothing");
        }

        if (input is null)
        {
            body.Refuse("input", "what a task's input may be", "nothing");
        }

        if (expect?.ValueKind != JsonValueKind.Object || expect.Value.GetPropertyCount() == 0)
        {
            body.Refuse("expect", "an object with the members that the output must have", expect?.GetRawText() ?? "nothing");
        }

        if (body.Refusal() is not null)
        {
            return null;
        }

        return new ProbeView
        {
            Name = name,
            Model = model!,
            Class = latencyClass,
            Input = input!.Value,
            Expect = expect!.Value,
            Tolerance = tolerance,
            EverySeconds = every,
            SlowMs = slow,
            Enabled = enabled,
            NextAt = now,
            LastRun = null,
            RightShare = null,
        };
    }

    private static async Task<IResult> DeleteAsync(string name, HttpContext http, ProbeStore store)
    {
        http.WasBefore((await store.ListAsync(name, http.RequestAborted)).FirstOrDefault());
        return await store.DeleteAsync(name, http.RequestAborted) ? Answer(new ProbeDeleted(name)) : Unknown(name);
    }

    private static async Task<IResult> RunAsync(string name, HttpContext http, ProbeStore store, ProbeOptions options)
    {
        if (!options.Reach)
        {
            return Problems.Result(
                FailureKind.InvalidState,
                "Probes are not sent: results-api has no address to send them to. Set Probes:Address and Probes:ApiKey."
            );
        }

        if (await store.RunNowAsync(name, http.RequestAborted))
        {
            return await GetAsync(name, http, store);
        }

        return await store.ListAsync(name, http.RequestAborted) is [_]
            ? Problems.Result(FailureKind.InvalidState, $"The probe \"{name}\" is not enabled.")
            : Unknown(name);
    }

    private static async Task<IResult> RunsAsync(string name, HttpContext http, ProbeStore store, ResultsApiOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<long>("after", "the last_id of a page", text => long.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        if (await store.ListAsync(name, http.RequestAborted) is [])
        {
            return Unknown(name);
        }

        var runs = await store.RunsAsync(name, after, limit + 1, http.RequestAborted);
        return Answer(ListView.Of(runs, limit, run => run.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)));
    }

    private static JsonHttpResult<T> Answer<T>(T view) => TypedResults.Json(view, ApiJson.Options);

    [GeneratedRegex("^[a-z0-9_-]{1,64}$")]
    private static partial Regex NameForm();
}
