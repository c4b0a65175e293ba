using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>An address that is told of events.</summary>
public sealed record EndpointFacts(Guid Id, TenantId Tenant, string TenantName, string Url, string State, string? Reason);

/// <summary>A delivery to it that failed.</summary>
public sealed record FailedDelivery(
    Guid Id,
    Guid? Job,
    string Type,
    string? Reason,
    int Attempts,
    int? LastStatus,
    DateTimeOffset CreatedAt
);

/// <summary>An endpoint's page: what failed, to be sent again one by one or all of it.</summary>
internal static class WebhookPages
{
    public static string Of(Guid endpoint) => $"{DashboardServices.Root}/webhooks/{endpoint}";

    public static void MapWebhook(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/webhooks/{id:guid}", ShowAsync);
        pages.MapPost("/webhooks/{id:guid}/replay", ReplayAsync);
    }

    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, NpgsqlDataSource database, DashboardOptions options) =>
        await FindAsync(id, database, options, http.RequestAborted) is { } endpoint
            ? http.Page<WebhookPage>(new { Endpoint = endpoint, Failed = await FailedAsync(id, database, options, http.RequestAborted) })
            : Unknown(http);

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

    /// <summary>The newest; by the index that holds only what failed.</summary>
    private static async Task<List<FailedDelivery>> FailedAsync(
        Guid endpoint,
        NpgsqlDataSource database,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            options,
            $"""
            SELECT id, job, type, reason, attempts, last_status, created_at FROM webhook_deliveries
            WHERE endpoint = $1 AND state = 'failed' ORDER BY id DESC LIMIT {options.PageItems}
            """
        );
        command.Parameters.Add(new() { Value = endpoint });
        return await Rows.ReadAsync(
            command,
            row => new FailedDelivery(
                row.GetGuid(0),
                row.IsDBNull(1) ? null : row.GetGuid(1),
                row.GetString(2),
                row.IsDBNull(3) ? null : row.GetString(3),
                row.GetInt32(4),
                row.IsDBNull(5) ? null : row.GetInt32(5),
                row.GetFieldValue<DateTimeOffset>(6)
            ),
            stop
        );
    }
}
