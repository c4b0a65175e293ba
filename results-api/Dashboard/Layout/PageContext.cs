using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.ResultsApi.Dashboard.Assets;

namespace Pipeline.ResultsApi.Dashboard.Layout;

/// <summary>What every page needs beside what it shows.</summary>
public sealed record PageContext
{
    public required Operator? Operator { get; init; }

    /// <summary>Goes with every form, in <see cref="PageContexts.FormField"/>.</summary>
    public required string FormToken { get; init; }
    public required AssetFiles Assets { get; init; }
    public required DashboardOptions Options { get; init; }

    /// <summary><c>light</c> or <c>dark</c>; null for what the browser's owner prefers.</summary>
    public required string? Theme { get; init; }

    /// <summary>What the form before it did, told once.</summary>
    public required Notice? Notice { get; init; }
    public required string Path { get; init; }
    public required string Query { get; init; }
    public required DateTimeOffset Now { get; init; }

    /// <summary>Whether buttons are shown that change something.</summary>
    public bool MayChange => Operator?.Role >= OperatorRole.Operator && !Options.ReadOnly;

    /// <summary>Whether buttons that act on jobs are shown: ingest takes those.</summary>
    public bool MayAct => MayChange && Options.Ingest is not null;

    public bool IsAdmin => Operator?.Role == OperatorRole.Admin;
}

/// <summary>A line at the top of the next page.</summary>
public sealed record Notice(bool Good, string Text);

/// <summary>Pages as endpoints answer them.</summary>
internal static class PageContexts
{
    public const string FormField = "form_token";
    public const string ThemeCookie = "pipeline-theme";
    private const string NoticeCookie = "pipeline-notice";
    private const int NoticeMax = 500;

    /// <summary>Answers with a page.</summary>
    /// <param name="parameters">What it shows: parameters of the component by name.</param>
    public static IResult Page<TPage>(this HttpContext http, object? parameters = null, int status = StatusCodes.Status200OK)
        where TPage : Microsoft.AspNetCore.Components.IComponent
    {
        var values = new RouteValueDictionary(parameters) { ["Context"] = Of(http) };
        return new RazorComponentResult<TPage>(values) { StatusCode = status, PreventStreamingRendering = true };
    }

    public static IResult Error(this HttpContext http, int status, string title, string text) =>
        http.Page<ErrorPage>(new { Title = title, Text = text }, status);

    /// <summary>Goes back to a page, which tells what was done.</summary>
    public static IResult Back(this HttpContext http, string path, bool good, string text)
    {
        var sealedNotice = Protector(http).Protect($"{(good ? '+' : '-')}{(text.Length > NoticeMax ? $"{text[..NoticeMax]}…" : text)}");
        http.Response.Cookies.Append(
            NoticeCookie,
            sealedNotice,
            new()
            {
                HttpOnly = true,
                SameSite = SameSiteMode.Lax,
                Path = DashboardServices.Root,
            }
        );
        return TypedResults.LocalRedirect(path);
    }

    public static PageContext Of(HttpContext http)
    {
        var services = http.RequestServices;
        return new PageContext
        {
            Operator = Guard.OperatorOf(http),
            FormToken = services.GetRequiredService<IAntiforgery>().GetAndStoreTokens(http).RequestToken ?? "",
            Assets = services.GetRequiredService<AssetFiles>(),
            Options = services.GetRequiredService<DashboardOptions>(),
            Theme = http.Request.Cookies[ThemeCookie] is ("light" or "dark") and var theme ? theme : null,
            Notice = TakeNotice(http),
            Path = http.Request.Path,
            Query = http.Request.QueryString.ToString(),
            Now = services.GetRequiredService<TimeProvider>().GetUtcNow(),
        };
    }

    private static Notice? TakeNotice(HttpContext http)
    {
        if (http.Request.Cookies[NoticeCookie] is not { Length: > 0 } cookie)
        {
            return null;
        }

        http.Response.Cookies.Delete(NoticeCookie, new() { Path = DashboardServices.Root });
        try
        {
            var text = Protector(http).Unprotect(cookie);
            return new Notice(text[0] == '+', text[1..]);
        }
        catch (System.Security.Cryptography.CryptographicException)
        {
            return null;
        }
    }

    private static IDataProtector Protector(HttpContext http) =>
        http.RequestServices.GetRequiredService<IDataProtectionProvider>().CreateProtector("dashboard notice");
}
