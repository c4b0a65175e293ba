using System.Security.Claims;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>Who is signed in.</summary>
public sealed record Operator(Guid Id, string Name, OperatorRole Role)
{
    /// <summary>As forms are bound to: a form of one operator is refused from another.</summary>
    public ClaimsPrincipal Principal =>
        new(new ClaimsIdentity([new Claim(ClaimTypes.NameIdentifier, Id.ToString()), new Claim(ClaimTypes.Name, Name)], "dashboard"));
}
