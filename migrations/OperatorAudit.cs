using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.Migrations;

/// <summary>
/// What operators do with their keys, in the audit: by the key's name, as <c>api.</c> and the operation's id, to the path that was asked. A
/// row is there before anything is done.
/// </summary>
public sealed class OperatorAudit(AuditTrail trail) : IOperatorAudit
{
    private const int ReasonMax = 500;

    public async ValueTask<object?> KeepAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next, bool actsFor)
    {
        var http = context.HttpContext;
        var caller = http.Caller();
        var reason = http.Request.Headers[ApiKeyAuthentication.ReasonHeader].ToString();
        if (reason.Length > ReasonMax)
        {
            return Problems.Result(
                FailureKind.InvalidRequest,
                $"{ApiKeyAuthentication.ReasonHeader} holds at most {ReasonMax} characters; given {reason.Length}."
            );
        }

        var deed = new Deed(ActionOf(http), "api", http.Request.Path.ToString())
        {
            Tenant = actsFor ? caller.Tenant : null,
            Reason = reason.Length > 0 ? reason : null,
        };
        var row = await trail.BeginAsync(
            null,
            $"key {caller.KeyName}",
            http.Connection.RemoteIpAddress?.ToString(),
            deed,
            http.RequestAborted
        );

        var result = await next(context);

        var problem = (result as ProblemResult)?.Value;
        var done =
            problem is null
            && ((result as IStatusCodeHttpResult)?.StatusCode ?? http.Response.StatusCode) < StatusCodes.Status400BadRequest;
        var after = done && !actsFor ? (result as IValueHttpResult)?.Value : null;
        var before = done && !actsFor ? http.FindBefore() : null;
        await trail.CompleteAsync(row, done, problem?.Detail, after, CancellationToken.None, before);
        return result;
    }

    /// <summary><c>api.set_key_limits</c> of <c>setKeyLimits</c>.</summary>
    private static string ActionOf(HttpContext http)
    {
        var id = http.GetEndpoint()?.Metadata.GetMetadata<ApiOperation>()?.Id ?? http.Request.Method.ToLowerInvariant();
        var action = new StringBuilder("api.");
        foreach (var letter in id.Where(char.IsAsciiLetter))
        {
            action.Append(char.IsAsciiLetterUpper(letter) ? $"_{char.ToLowerInvariant(letter)}" : letter);
        }

        return action.ToString();
    }
}

public static class OperatorAuditServices
{
    /// <summary>Keeps in the audit what operators do through this service's endpoints.</summary>
    public static IServiceCollection AddOperatorAudit(this IServiceCollection services) =>
        services.AddSingleton<AuditTrail>().AddSingleton<IOperatorAudit, OperatorAudit>();
}
