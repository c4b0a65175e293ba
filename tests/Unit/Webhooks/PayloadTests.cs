using System.Text;
using Pipeline.Contracts;
using Pipeline.ResultsApi.Webhooks;
using Xunit;

namespace Pipeline.Tests.Unit.Webhooks;

public sealed class PayloadTests
{
    private static readonly DateTimeOffset At = new(2026, 11, 26, 12, 0, 0, 123, TimeSpan.Zero);
    private static readonly WebhookDeliveryId Delivery = new(Guid.Parse("01990000-0000-7000-8000-000000000001"));
    private static readonly JobId Job = new(Guid.Parse("01990000-0000-7000-8000-000000000002"));

    [Fact]
    public void An_event_has_a_type_a_time_its_data_and_links() =>
        Assert.Equal(
            """{"id":"evt_01990000000070008000000000000001","type":"job.completed","timestamp":"2026-11-26T12:00:00.123000Z","data":{"state":"completed","links":{"self":"https://api.example.org/v1/jobs/01990000-0000-7000-8000-000000000002","results":"https://api.example.org/v1/jobs/01990000-0000-7000-8000-000000000002/results"}}}""",
            Write(
                new PayloadSource(Delivery, "job.completed", Job, null, """{"state": "completed"}""", At, null),
                "https://api.example.org/"
            )
        );

    [Fact]
    public void A_batch_is_told_in_OpenAIs_form() =>
        Assert.Equal(
            """{"id":"evt_01990000000070008000000000000001","object":"event","created_at":1795694400,"type":"batch.completed","data":{"id":"batch_1"}}""",
            Write(new PayloadSource(Delivery, "batch.completed", Job, null, """{"id":"batch_1"}""", At, null), "")
        );

    [Fact]
    public void A_task_is_told_with_a_link_to_its_line()
    {
        var text = Write(new PayloadSource(Delivery, "task.completed", Job, 7, "{}", At, new TaskEnd("a", "failed", "model_failed")), "");

        Assert.Contains(
            "\"seq\":7,\"custom_id\":\"a\",\"status\":\"failed\",\"error_code\":\"model_failed\"",
            text,
            StringComparison.Ordinal
        );
        Assert.Contains($"/v1/jobs/{Job}/results?cursor=6&limit=1\"", text, StringComparison.Ordinal);
    }

    private static string Write(PayloadSource source, string root) => Encoding.UTF8.GetString(Payload.Write(source, root));
}
