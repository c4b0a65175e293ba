using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>An address that is told of events.</summary>
public sealed record EndpointFacts(Guid Id, TenantId Tenant, string TenantName, string Url, string State, string? Reason);

/// <summary>A delivery to it.</summary>
public sealed record EndpointDelivery(
    Guid Id,
    Guid? Job,
    string Type,
    string State,
    string? Reason,
    int Attempts,
    int? LastStatus,
    DateTimeOffset CreatedAt
);

/// <summary>An endpoint's page: its deliveries by state, and what failed, to be sent again one by one or all of it.</summary>
internal static class WebhookPages
{
    private const string AnyState = "any";

    /// <summary>Ways to filter by state; the first is what the page begins with.</summary>
    public static readonly IReadOnlyList<string> States =
    [
        DeliveryStates.Failed,
        DeliveryStates.Pending,
        DeliveryStates.Delivered,
        AnyState,
    ];

    public static string Of(Guid endpoint) => $"{DashboardServices.Root}/webhooks/{endpoint}";

    public static void MapWebhook(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/webhooks/{id:guid}", ShowAsync);
        pages.MapGet("/webhooks/{id:guid}/export", ExportAsync);
        pages.MapPost("/webhooks/{id:guid}/replay", ReplayAsync);
    }

    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        var stop = http.RequestAborted;
        if (await FindAsync(id, database, options, stop) is not { } endpoint)
        {
            return Unknown(http);
        }

        Guid? after = Guid.TryParse(http.Request.Query["after"], out var last) ? last : null;
        var found = await DeliveriesAsync(id, State(http), after, options.PageItems + 1, database, options, stop);
        return http.Page<WebhookPage>(
            new
            {
                Endpoint = endpoint,
                State = State(http),
                Deliveries = found.Take(options.PageItems).ToList(),
                Next = found.Count > options.PageItems ? $"{found[options.PageItems - 1].Id}" : null,
            }
        );
    }

    private static async Task<IResult> ExportAsync(Guid id, HttpContext http, NpgsqlDataSource database, DashboardOptions options) =>
        Export.Answer(
            http,
            $"deliveries-{id}",
            await DeliveriesAsync(id, State(http), after: null, options.ExportRowsMax, database, options, http.RequestAborted),
            ("id", d => d.Id),
            ("type", d => d.Type),
            ("job", d => d.Job),
            ("state", d => d.State),
            ("reason", d => d.Reason),
            ("attempts", d => d.Attempts),
            ("last_status", d => d.LastStatus),
            ("created_at", d => d.CreatedAt)
        );

    private static string State(HttpContext http) =>
        http.Request.Query["state"].ToString() is var asked && States.Contains(asked) ? asked : States[0];

    /// <summary>Sends one failed delivery again, or as many as a replay of the API takes at once.</summary>
    private static async Task<IResult> ReplayAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        DeliveryStore deliveries,
        WebhookSender sender,
        AuditLog audit,
        DashboardOptions options
    )
    {
        var stop = http.RequestAborted;
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Of(id));
        if (actor is null)
        {
            return refused!;
        }

        if (await FindAsync(id, database, options, stop) is not { } endpoint)
        {
            return Unknown(http);
        }

        if (endpoint.State != "enabled")
        {
            return http.Back(Of(id), good: false, "Its tenant has to enable it first.");
        }

        var (sent, more) = (0, false);
        await audit.KeepAsync(
            http,
            new Deed("webhook.replay", "webhook_endpoint", id.ToString()) { Tenant = endpoint.Tenant, Reason = actor.Reason },
            async () =>
            {
                if (Guid.TryParse(form["delivery"], out var one))
                {
                    sent = await deliveries.ReplayAsync(endpoint.Tenant, new WebhookDeliveryId(one), stop) ? 1 : 0;
                    return DeedOutcome.Done(new { sent, delivery = one });
                }

                var replayed = await deliveries.ReplayAsync(new WebhookEndpointId(id), [DeliveryStates.Failed], null, null, null, stop);
                (sent, more) = (replayed.Replayed, replayed.HasMore);
                return DeedOutcome.Done(new { sent });
            }
        );
        sender.Wake();
        return http.Back(Of(id), good: true, $"{Show.Count(sent)} are sent again.{(more ? " There are more: repeat it." : "")}");
    }

    private static IResult Unknown(HttpContext http) =>
        http.Error(StatusCodes.Status404NotFound, "There is no such webhook", "It may have been deleted: look through the webhooks.");

    private static async Task<EndpointFacts?> FindAsync(
        Guid id,
        NpgsqlDataSource database,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            options,
            """
            SELECT e.tenant, t.name, e.url, e.state, e.disabled_reason
            FROM webhook_endpoints e JOIN tenants t ON t.id = e.tenant WHERE e.id = $1
            """
        );
        command.Parameters.Add(new() { Value = id });
        var found = await Rows.ReadAsync(
            command,
            row => new EndpointFacts(
                id,
                new TenantId(row.GetGuid(0)),
                row.GetString(1),
                row.GetString(2),
                row.GetString(3),
                row.IsDBNull(4) ? null : row.GetString(4)
            ),
            stop
        );
        return found.SingleOrDefault();
    }

    /// <summary>Newest first.</summary>
    private static async Task<List<EndpointDelivery>> DeliveriesAsync(
        Guid endpoint,
        string state,
        Guid? after,
        int rows,
        NpgsqlDataSource database,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(options);
        var filter = new SqlFilter(command)
            .Add("endpoint = {0}", endpoint, NpgsqlDbType.Uuid)
            // As a constant, so that the indexes of what failed and of what waits are seen to fit.
            .Add($"state = '{state}'", state != AnyState)
            .Add("id < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT id, job, type, state, reason, attempts, last_status, created_at FROM webhook_deliveries
            {filter.Where} ORDER BY id DESC LIMIT {rows}
            """;
        return await Rows.ReadAsync(
            command,
            row => new EndpointDelivery(
                row.GetGuid(0),
                row.IsDBNull(1) ? null : row.GetGuid(1),
                row.GetString(2),
                row.GetString(3),
                row.IsDBNull(4) ? null : row.GetString(4),
                row.GetInt32(5),
                row.IsDBNull(6) ? null : row.GetInt32(6),
                row.GetFieldValue<DateTimeOffset>(7)
            ),
            stop
        );
    }
}
