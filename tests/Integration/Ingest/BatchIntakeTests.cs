using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Batches whose reading fails though nothing is wrong with their files.</summary>
public sealed class BatchIntakeTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_batch_that_cannot_be_made_a_job_is_failed_after_some_tries_and_says_that_it_is_our_fault()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:SweepEvery", "00:00:00.05"));
        await host.Database.ExecuteAsync(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no job can be made'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        );
        var file = await UploadAsync(
            host,
            """{"custom_id":"a","method":"POST","url":"/v1/infer","body":{"model":"words","input":"hello"}}"""
        );

        using var created = await host.Client.PostAsJsonAsync(
            "/v1/batches",
            new
            {
                input_file_id = file,
                endpoint = "/v1/infer",
                completion_window = "24h",
            },
            Stop
        );
        Assert.True(created.IsSuccessStatusCode, await created.Content.ReadAsStringAsync(Stop));

        await host.Database.UntilAsync("SELECT finished_at IS NOT NULL FROM openai_batches");
        var errors = JsonElement.Parse((await host.Database.ScalarAsync<string>("SELECT errors::text FROM openai_batches"))!);
        var error = Assert.Single(errors.GetProperty("data").EnumerateArray());
        Assert.Equal("internal_error", error.GetProperty("code").GetString());
        Assert.Contains("nothing of it ran", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, await host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs"));
    }

    private static async Task<string> UploadAsync(IngestHost host, string lines)
    {
        using var form = new MultipartFormDataContent
        {
            { new StringContent("batch"), "purpose" },
            { new ByteArrayContent(Encoding.UTF8.GetBytes(lines)), "file", "in.jsonl" },
        };
        using var response = await host.Client.PostAsync("/v1/files", form, Stop);
        return (await response.JsonAsync()).GetProperty("id").GetString()!;
    }
}
