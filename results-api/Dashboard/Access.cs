using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>Who may use an endpoint of the dashboard. One that says nothing is for viewers to read, and for operators to post to.</summary>
/// <param name="Role">Null: also who is not signed in.</param>
/// <param name="WhenReadOnly">False: refused while the dashboard only shows.</param>
internal sealed record Access(OperatorRole? Role, bool WhenReadOnly)
{
    public static readonly Access Read = new(OperatorRole.Viewer, true);
    public static readonly Access Write = new(OperatorRole.Operator, false);
}

/// <summary>How endpoints say it.</summary>
internal static class AccessExtensions
{
    /// <summary>Also who is not signed in.</summary>
    public static RouteHandlerBuilder ForAnybody(this RouteHandlerBuilder endpoint) => endpoint.WithMetadata(new Access(null, true));

    /// <summary>Whoever is signed in, and while the dashboard only shows: what concerns nobody else.</summary>
    public static RouteHandlerBuilder ForViewers(this RouteHandlerBuilder endpoint) => endpoint.WithMetadata(Access.Read);

    public static RouteHandlerBuilder ForAdmins(this RouteHandlerBuilder endpoint, bool whenReadOnly = false) =>
        endpoint.WithMetadata(new Access(OperatorRole.Admin, whenReadOnly));
}
