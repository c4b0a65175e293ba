using Microsoft.AspNetCore.Antiforgery;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>
/// Stands before every endpoint of the dashboard: headers, who asks, whether the form is ours, whether they may; and turns what went
/// wrong into a page. An endpoint added without a thought is closed.
/// </summary>
internal sealed partial class Guard(Sessions sessions, IAntiforgery forms, DashboardOptions options, ILogger<Guard> log) : IEndpointFilter
{
    private static readonly object OperatorItem = new();

    // Nothing from elsewhere, no script or style in the page itself, no frames: a text that slipped through as markup would do nothing.
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

    public static Operator? OperatorOf(HttpContext http) => http.Items[OperatorItem] as Operator;

    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var http = context.HttpContext;
        SetHeaders(http.Response.Headers);
        if (options.IsHttps)
        {
            // Where a gateway ends TLS, what comes here is http; browsers see https all the same.
            http.Request.Scheme = Uri.UriSchemeHttps;
        }

        try
        {
            return await RefuseAsync(http) ?? await next(context);
        }
        catch (BadHttpRequestException e)
        {
            return http.Error(e.StatusCode, "That request was not understood", e.Message);
        }
        catch (NpgsqlException e) when (e.InnerException is TimeoutException)
        {
            return http.Error(
                StatusCodes.Status503ServiceUnavailable,
                "That took too long",
                $"The search was ended after {options.QueryTimeMax.TotalSeconds:0} s. Narrow it by time, state or tenant."
            );
        }
        catch (Exception e) when (Problems.IsLostServer(e))
        {
            LogLost(log, http.Request.Path, e.Message);
            return http.Error(
                StatusCodes.Status503ServiceUnavailable,
                "PostgreSQL is not reachable",
                "Nothing is lost. Load the page again in a moment."
            );
        }
    }

    /// <returns>Why the request is not served, or null.</returns>
    private async Task<IResult?> RefuseAsync(HttpContext http)
    {
        var isPost = HttpMethods.IsPost(http.Request.Method);
        var access = http.GetEndpoint()?.Metadata.GetMetadata<Access>() ?? (isPost ? Access.Write : Access.Read);
        if (await sessions.FindAsync(http) is { } who)
        {
            http.Items[OperatorItem] = who;
            http.User = who.Principal;
        }
        else if (access.Role is not null)
        {
            return isPost || http.Request.Headers.Accept == "text/event-stream"
                ? http.Error(StatusCodes.Status401Unauthorized, "You are signed out", "Sign in, and try again.")
                : TypedResults.Redirect(
                    $"{DashboardServices.Root}/sign-in?return={Uri.EscapeDataString(http.Request.Path + http.Request.QueryString)}"
                );
        }

        if (isPost && !await forms.IsRequestValidAsync(http))
        {
            return http.Error(
                StatusCodes.Status400BadRequest,
                "That form is not valid any more",
                "It was made for another session, or did not come from here. Go back, load the page again, and repeat it."
            );
        }

        if (access.Role > OperatorOf(http)?.Role)
        {
            return http.Error(
                StatusCodes.Status403Forbidden,
                "You may not do that",
                $"It needs the role {access.Role.Value.Name()}; yours is {OperatorOf(http)!.Role.Name()}. An admin can change it."
            );
        }

        return options.ReadOnly && !access.WhenReadOnly
            ? http.Error(StatusCodes.Status403Forbidden, "This dashboard only shows", "Dashboard:ReadOnly is set for it.")
            : null;
    }

    private void SetHeaders(IHeaderDictionary headers)
    {
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers["Referrer-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";
        headers.CacheControl = "no-cache, no-store";
        if (options.IsHttps)
        {
            headers.StrictTransportSecurity = "max-age=31536000";
        }
    }

    [LoggerMessage(81, LogLevel.Warning, "{Path} answered 503: {Reason}")]
    private static partial void LogLost(ILogger log, string path, string reason);
}
