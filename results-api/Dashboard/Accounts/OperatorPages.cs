using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>The page of operators, for admins: invite, change a role, disable, make a link for a new password.</summary>
internal static class OperatorPages
{
    private const string Home = $"{DashboardServices.Root}/operators";

    public static void MapOperators(this IEndpointRouteBuilder pages)
    {
        pages
            .MapGet("/operators", (HttpContext http, Operators operators) => ListAsync(http, operators, null))
            .ForAdmins(whenReadOnly: true);
        pages.MapPost("/operators/invite", InviteAsync).ForAdmins();
        pages.MapPost("/operators/{id:guid}", ChangeAsync).ForAdmins();
        pages.MapPost("/operators/{id:guid}/link", LinkAsync).ForAdmins();
    }

    private static async Task<IResult> ListAsync(HttpContext http, Operators operators, Uri? link)
    {
        var all = await operators.ListAsync(http.RequestAborted);
        return http.Page<OperatorsPage>(new { Operators = all, Link = link });
    }

    private static async Task<IResult> InviteAsync(HttpContext http, Operators operators, OperatorLinks links, AuditLog audit)
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        if (OperatorRoles.Parse(form["role"]) is not { } role)
        {
            return http.Back(Home, good: false, "Choose a role.");
        }

        var deed = new Deed("operator.invite", "operator", "(new)") { Reason = Actors.MaybeReason(form) };
        return await MakeLinkAsync(http, operators, links, audit, deed, role, null);
    }

    private static async Task<IResult> LinkAsync(Guid id, HttpContext http, Operators operators, OperatorLinks links, AuditLog audit)
    {
        if (await operators.FindAsync(id, http.RequestAborted) is not { DisabledAt: null } found)
        {
            return http.Back(Home, good: false, "There is no such operator, or they are disabled.");
        }

        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var deed = new Deed("operator.link", "operator", found.Name) { Reason = Actors.MaybeReason(form) };
        return await MakeLinkAsync(http, operators, links, audit, deed, null, id);
    }

    private static async Task<IResult> MakeLinkAsync(
        HttpContext http,
        Operators operators,
        OperatorLinks links,
        AuditLog audit,
        Deed deed,
        OperatorRole? role,
        Guid? id
    )
    {
        var path = "";
        await audit.KeepAsync(
            http,
            deed,
            async () =>
            {
                path = await links.CreateAsync(role, id, http.RequestAborted);
                return DeedOutcome.Done(role is null ? null : new { role = role.Value.Name() });
            }
        );
        return await ListAsync(http, operators, Absolute(http, path));
    }

    private static async Task<IResult> ChangeAsync(Guid id, HttpContext http, Operators operators, AuditLog audit)
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        if (await operators.FindAsync(id, http.RequestAborted) is not { } old || OperatorRoles.Parse(form["role"]) is not { } role)
        {
            return http.Back(Home, good: false, "There is no such operator, or no such role.");
        }

        var disabled = form["disabled"] == "true";
        var (refusal, _) = await audit.KeepAsync(
            http,
            new Deed("operator.change", "operator", old.Name)
            {
                Reason = Actors.MaybeReason(form),
                Before = new { role = old.Role.Name(), disabled = old.DisabledAt is not null },
            },
            async () =>
                await operators.ChangeAsync(id, role, disabled, http.RequestAborted)
                    ? DeedOutcome.Done(new { role = role.Name(), disabled })
                    : DeedOutcome.Refused("it would leave no admin")
        );
        return http.Back(Home, refusal is null, refusal is null ? $"{old.Name} is changed." : $"Not changed: {refusal}.");
    }

    private static Uri Absolute(HttpContext http, string path)
    {
        var here =
            http.RequestServices.GetRequiredService<DashboardOptions>().PublicUrl
            ?? new Uri($"{http.Request.Scheme}://{http.Request.Host}");
        return new Uri(here, path);
    }
}
