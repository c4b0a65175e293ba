using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>Signing in and out, and the page that a link opens on which a password is chosen.</summary>
internal static class SignIn
{
    private const int PasswordLengthMax = 256;
    private const string Home = $"{DashboardServices.Root}/now";

    public static void MapSignIn(this IEndpointRouteBuilder pages)
    {
        pages
            .MapGet(
                "/sign-in",
                (HttpContext http) =>
                    http.Page<SignInPage>(
                        new
                        {
                            Return = LocalPath(http.Request.Query["return"]),
                            Name = "",
                            Message = "",
                        }
                    )
            )
            .ForAnybody();
        pages.MapPost("/sign-in", SignInAsync).ForAnybody();
        pages.MapPost("/sign-out", SignOutAsync).ForViewers();
        pages.MapGet("/welcome", WelcomeAsync).ForAnybody();
        pages.MapPost("/welcome", ChoosePasswordAsync).ForAnybody();
        pages.MapPost("/theme", SetThemeAsync).ForViewers();
    }

    private static async Task<IResult> SignInAsync(
        HttpContext http,
        Operators operators,
        Sessions sessions,
        AuditLog audit,
        DashboardOptions options
    )
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var (name, password) = (form["name"].ToString(), form["password"].ToString());
        var to = LocalPath(form["return"]);
        if (!Operators.IsName(Operators.Normal(name)) || password.Length is 0 or > PasswordLengthMax)
        {
            return Again("Name and password are needed.", StatusCodes.Status400BadRequest);
        }

        var (outcome, who) = await operators.CheckAsync(name, password, http.RequestAborted);
        var known = who?.Name ?? Operators.Normal(name);
        if (outcome == SignInOutcome.Ok)
        {
            await audit.AddAsync(http, who, new("operator.sign_in", "operator", known));
            await sessions.BeginAsync(http, who!);
            return TypedResults.LocalRedirect(to);
        }

        var locked = outcome == SignInOutcome.Locked;
        await audit.AddAsync(
            http,
            null,
            new("operator.sign_in", "operator", known)
            {
                Done = false,
                Detail = locked ? "locked after wrong passwords" : "wrong name or password",
            }
        );
        return locked
            ? Again(
                $"Too many wrong passwords. Wait {options.LockedFor.TotalMinutes:0} minutes, or ask an admin for a link.",
                StatusCodes.Status429TooManyRequests
            )
            : Again("Name or password is wrong.", StatusCodes.Status401Unauthorized);

        IResult Again(string message, int status) =>
            http.Page<SignInPage>(
                new
                {
                    Return = to,
                    Name = name,
                    Message = message,
                },
                status
            );
    }

    private static async Task<IResult> SignOutAsync(HttpContext http, Sessions sessions, AuditLog audit)
    {
        var who = Guard.OperatorOf(http);
        await audit.AddAsync(http, who, new("operator.sign_out", "operator", who!.Name));
        await sessions.EndAsync(http);
        return TypedResults.LocalRedirect($"{DashboardServices.Root}/sign-in");
    }

    private static async Task<IResult> WelcomeAsync(HttpContext http, OperatorLinks links)
    {
        var token = http.Request.Query["token"].ToString();
        return await links.FindAsync(token, http.RequestAborted) is { } link
            ? Welcome(http, link, token, "", StatusCodes.Status200OK)
            : Gone(http);
    }

    private static async Task<IResult> ChoosePasswordAsync(
        HttpContext http,
        OperatorLinks links,
        Sessions sessions,
        DashboardOptions options
    )
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var (token, password) = (form["token"].ToString(), form["password"].ToString());
        if (await links.FindAsync(token, http.RequestAborted) is not { } link)
        {
            return Gone(http);
        }

        var name = Operators.Normal(link.OperatorName ?? form["name"].ToString());
        var mistake =
            !Operators.IsName(name) ? "A name has 1 to 100 letters, digits, and . - _ @ +"
            : password.Length < options.PasswordLengthMin || password.Length > PasswordLengthMax
                ? $"A password has {options.PasswordLengthMin} to {PasswordLengthMax} characters."
            : password.Contains(name, StringComparison.OrdinalIgnoreCase) && name.Length > 3 ? "The password must not hold the name."
            : password != form["again"] ? "The two passwords differ."
            : null;
        if (mistake is not null)
        {
            return Welcome(http, link, token, mistake, StatusCodes.Status400BadRequest);
        }

        if (await links.UseAsync(http, token, name, password) is not { } who)
        {
            return Welcome(http, link, token, $"The name \"{name}\" is taken.", StatusCodes.Status409Conflict);
        }

        await sessions.BeginAsync(http, who);
        return http.Back(Home, good: true, $"Welcome, {who.Name}.");
    }

    private static async Task<IResult> SetThemeAsync(HttpContext http, DashboardOptions options)
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        if (form["theme"].ToString() is ("light" or "dark") and var theme)
        {
            var forLong = new CookieOptions
            {
                HttpOnly = true,
                Secure = options.IsHttps,
                SameSite = SameSiteMode.Lax,
                MaxAge = TimeSpan.FromDays(365),
                Path = DashboardServices.Root,
            };
            http.Response.Cookies.Append(PageContexts.ThemeCookie, theme, forLong);
        }
        else
        {
            http.Response.Cookies.Delete(PageContexts.ThemeCookie, new() { Path = DashboardServices.Root });
        }

        return TypedResults.LocalRedirect(LocalPath(form["return"]));
    }

    private static IResult Welcome(HttpContext http, OperatorLink link, string token, string message, int status) =>
        http.Page<WelcomePage>(
            new
            {
                Link = link,
                Token = token,
                Message = message,
            },
            status
        );

    private static IResult Gone(HttpContext http) =>
        http.Error(
            StatusCodes.Status410Gone,
            "This link does not work any more",
            "It was used, or is too old. An admin can make another; where there is none yet, start the service again: it prints one."
        );

    /// <summary>Where to go afterwards: a page of the dashboard and nowhere else.</summary>
    private static string LocalPath(string? path) =>
        path is not null
        && path.StartsWith($"{DashboardServices.Root}/", StringComparison.Ordinal)
        && !path.Contains('\\', StringComparison.Ordinal)
        && !path.StartsWith($"{DashboardServices.Root}/sign-in", StringComparison.Ordinal)
            ? path
            : Home;
}
