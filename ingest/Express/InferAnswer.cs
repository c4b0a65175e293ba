using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Express;

/// <summary>Answers to <c>POST /v1/infer</c>: the results, a place to find them later, or why there are none.</summary>
internal static class InferAnswer
{
    private static readonly JsonWriterOptions Writer = new()
    {
        SkipValidation = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>The results, in the order of the inputs; a problem when no task succeeded.</summary>
    public static IResult Complete(ExpressAccepted accepted)
    {
        var results = accepted.Results();
        if (results.Count == 0)
        {
            return Problems.Result(FailureKind.UnknownJob, $"Job {accepted.Job.Id} was removed before it had ended.");
        }

        var first = results[0];
        if (results.All(r => r.ErrorCode is not null))
        {
            var kind = Enum.GetValues<FailureKind>().FirstOrDefault(k => k.Info().Code == first.ErrorCode, FailureKind.Internal);
            return new ProblemResult(Problems.From(kind, first.ErrorMessage ?? "") with { Job = accepted.Job.Id });
        }

        return Results.Bytes(Render(accepted.Job, results), "application/json");
    }

    /// <summary>202: the work goes on, and here is where it will be found.</summary>
    public static IResult Later(HttpContext http, ExpressAccepted accepted)
    {
        http.Response.Headers.Location = $"/v1/infer/{accepted.Job.Id}";
        http.Response.Headers.RetryAfter = "1";
        return Results.Json(accepted.Job, ApiJson.Options, statusCode: StatusCodes.Status202Accepted);
    }

    /// <summary>One result as a line of JSON.</summary>
    public static ReadOnlyMemory<byte> Line(TaskAnswer answer)
    {
        var to = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(to, Writer);
        ResultJson.Write(json, answer);
        json.Flush();
        return to.WrittenMemory;
    }

    /// <summary><c>{"id": job, "object": "inference", "model": …, "class": …, "results": [as in the job's results], …}</c>.</summary>
    public static byte[] Render(JobView job, IReadOnlyList<TaskAnswer> results)
    {
        var to = new ArrayBufferWriter<byte>(1024);
        using var json = new Utf8JsonWriter(to, Writer);
        json.WriteStartObject();
        json.WriteString("id"u8, job.Id.Value);
        json.WriteString("object"u8, "inference"u8);
        json.WriteString("model"u8, job.Model.ToString());
        if (job.Route is { } route)
        {
            json.WriteString("route"u8, route);
        }

        json.WriteString("class"u8, job.Class.Name());
        if (job.RequestedClass is { } asked)
        {
            json.WriteString("requested_class"u8, asked.Name());
        }

        json.WriteString("created_at"u8, job.CreatedAt);
        json.WriteNumber("cost_pico_usd"u8, results.Sum(r => (decimal)r.CostPico));
        json.WriteStartArray("results"u8);
        foreach (var result in results)
        {
            ResultJson.Write(json, result);
        }

        json.WriteEndArray();
        json.WriteStartObject("links"u8);
        json.WriteString("self"u8, job.Links.Self);
        json.WriteString("results"u8, job.Links.Results);
        json.WriteString("events"u8, job.Links.Events);
        json.WriteEndObject();
        json.WriteEndObject();
        json.Flush();
        return to.WrittenSpan.ToArray();
    }
}
