using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Express;

/// <summary><c>PUT /v1/tenants/{tenant}/keys/{key}/limits</c>: what operators let one API key ask of the express path.</summary>
internal sealed class SetKeyLimits(NpgsqlDataSource database, KeyLimits limits, IngestOptions options)
{
    private const string Rate = "rate_per_second";
    private const string Burst = "burst_max";
    private const string Concurrent = "concurrent_max";

    public static readonly ApiOperation Operation = new(
        "setKeyLimits",
        ApiTags.Inference,
        "Sets what one API key may ask at once, and in a second.",
        """
        Requests a second, requests at once after a pause, and requests at the same time, at the endpoints whose replies have `RateLimit`; each
        instance counts for itself. All three are set: what is left out or null is as ingest's options say, and `burst_max` beside a
        `rate_per_second` of its own is as many seconds' worth of it as theirs (two, by default). The instance that was asked knows it
        at once, others within 2 s. What the key has under way stays counted.
        """
    )
    {
        Parameters =
        [
            ApiParameter.Path("tenant", ApiType.Text(), "The tenant's name."),
            ApiParameter.Path("key", ApiType.Text(), $"The first {ApiKeyIssuer.PrefixLength} characters of the key, `pk_` among them."),
        ],
        Bodies =
        [
            new(
                "application/json",
                typeof(KeyLimitsBody),
                "The limits.",
                """{"rate_per_second": 20, "burst_max": 40, "concurrent_max": 5}"""
            ),
        ],
        Answers = [ApiAnswer.Json<KeyLimitsView>("The limits as they are kept.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public async Task<IResult> SetAsync(string tenant, string key, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, Rate, Burst, Concurrent);
        if (fields is null)
        {
            return problem!;
        }

        var own = new ApiKeyLimits(Limit(Rate), Limit(Burst), Limit(Concurrent));
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        var was = await ApiKeyLimits.FindAsync(database, tenant, key, http.RequestAborted);
        http.WasBefore(was is null ? null : View(was));
        if (!await ApiKeyLimits.SetAsync(database, tenant, key, own, http.RequestAborted))
        {
            return Problems.Result(
                FailureKind.UnknownRoute,
                $"The tenant \"{Excerpt.Of(tenant)}\" has no valid key that begins with \"{Excerpt.Of(key)}\": its first {ApiKeyIssuer.PrefixLength} characters are wanted.",
                "key"
            );
        }

        limits.Forget();
        return Results.Json(View(own), ApiJson.Options);

        KeyLimitsView View(ApiKeyLimits of) => new(tenant, key, of.RatePerSecond, of.BurstMax, of.ConcurrentMax);

        int? Limit(string name) => (int?)fields.Whole(name, 1, ApiKeyLimits.Most);
    }
}

/// <summary>The shapes that <see cref="SetKeyLimits"/> reads and answers with; null is what ingest's options say.</summary>
internal sealed record KeyLimitsBody(int? RatePerSecond = null, int? BurstMax = null, int? ConcurrentMax = null);

internal sealed record KeyLimitsView(string Tenant, string Key, int? RatePerSecond, int? BurstMax, int? ConcurrentMax);
