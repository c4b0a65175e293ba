using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pipeline.Contracts;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>The client commands, as a shell sees them: what they print and the code they end with.</summary>
[Collection(StandaloneHost.Collection)]
public sealed partial class CommandLineTests(StandaloneHost host)
{
    private const string Model = "language-id-small";
    private const int Ok = 0;
    private const int Failed = 1;
    private const int Usage = 2;
    private const int NotAllSucceeded = 3;

    [Theory]
    [InlineData("tasks.ndjson", """{"custom_id":"a","input":"Guten Morgen"}|{"custom_id":"b","input":"good morning"}""", "a b")]
    [InlineData("tasks.txt", "Guten Morgen||good morning", "1 3")]
    [InlineData("tasks.csv", "text|Guten Morgen|\"good, morning\"", "2 3")]
    [InlineData("named.csv", "key,n,text|a,1,\"Guten \"\"Morgen\"\"\"|b,2,good morning", "a b", "--column", "text", "--id-column", "key")]
    public async Task Submits_a_file_of_each_format_and_watches_it_to_the_end(
        string name,
        string content,
        string ids,
        params string[] options
    )
    {
        var file = Write(name, content.Replace('|', '\n') + "\n");

        var run = (await host.RunAsync(["submit", file, "--model", Model, "--watch", .. options])).Ended(Ok);

        var job = JobId().Match(run.Output).Value;
        Assert.Contains($"job {job}: 2 tasks for {Model}@1.0.0, class bulk", run.Output, StringComparison.Ordinal);
        Assert.StartsWith("completed: 2 succeeded in ", run.Lines[^1], StringComparison.Ordinal);
        var results = (await host.RunAsync("results", job)).Ended(Ok);
        Assert.Equal(ids.Split(' '), results.Lines.Select(line => Field(line, "custom_id")));
    }

    [Fact]
    public async Task Reads_tasks_from_standard_input()
    {
        var file = Write("tasks", """{"custom_id":"only","input":"bonjour"}""");
        var command = $"dotnet '{ToolRun.Program}' submit - --model {Model} --watch --data '{host.Folder}' <'{file}'";

        var (code, output, error) = await Pipeline.Standalone.Tool.TryRunAsync(
            new("bash", ["-c", command]),
            TestContext.Current.CancellationToken
        );

        new ToolRun(code, output, error).Ended(Ok);
        Assert.Contains("completed: 1 succeeded", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tests_a_webhook_and_says_what_it_answered()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var added = (await host.RunAsync("webhooks", "add", receiver.Url())).Ended(Ok);
        var endpoint = JobId().Match(added.Output).Value;

        var sent = (await host.RunAsync("webhooks", "test", endpoint)).Ended(Ok);
        Assert.StartsWith($"{receiver.Url()} answered 204 in ", sent.Output, StringComparison.Ordinal);
        receiver.Answer = static (_, http) => WebhookReceiver.Status(http, HttpStatusCode.BadGateway);
        var failed = (await host.RunAsync("webhooks", "test", endpoint)).Ended(Failed);

        Assert.StartsWith($"{receiver.Url()} answered 502 in ", failed.Lines[0], StringComparison.Ordinal);
        Assert.StartsWith("It is sent again at ", failed.Lines[1], StringComparison.Ordinal);
        Assert.All(receiver.Calls, call => Assert.Equal("webhook.test", call.Type));
    }

    [Fact]
    public async Task Issues_lists_and_limits_a_tenants_keys()
    {
        var tenant = $"shop-{Guid.NewGuid():N}";
        var key = (await host.RunAsync("keys", "add", "till", "--tenant", tenant)).Ended(Ok).Output.Trim();
        Assert.DoesNotContain("5", Row((await host.RunAsync("keys", tenant)).Ended(Ok)), StringComparer.Ordinal);

        (await host.RunAsync("keys", "limit", tenant, key[..12], "--rate", "5")).Ended(Ok);

        Assert.Equal(
            [key[..12], "till", "false", "5"],
            Row((await host.RunAsync("keys", tenant)).Ended(Ok)).Where((_, i) => i is not (3 or 4))
        );
        Assert.Contains("no tenant", (await host.RunAsync("keys", "nobody")).Ended(Failed).Error, StringComparison.Ordinal);

        static string[] Row(ToolRun run) => run.Lines[1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
    }

    [Fact]
    public async Task Sets_and_shows_prices_and_budgets()
    {
        // Far ahead, and more than anybody here is charged: other tests share the host.
        (await host.RunAsync("prices", "set", "express", "0.08", "--model", Model, "--valid-from", "2190-01-01T00:00:00Z")).Ended(Ok);
        var prices = (await host.RunAsync("prices", "list")).Ended(Ok);
        Assert.Matches($@"^express +{Model} +\$0\.08 +2190-01-01 00:00:00Z$", prices.Lines[^1]);

        (await host.RunAsync("budgets", "set", "default", "1000000", "--warn", "50", "90")).Ended(Ok);
        var budget = (await host.RunAsync("budgets", "show", "default", "--json")).Ended(Ok);
        Assert.Equal(1_000_000 * Cost.PicoPerUsd, Json(budget.Output).GetProperty("limit_pico_usd").GetInt64());
        (await host.RunAsync("budgets", "show", "nobody")).Ended(Failed);
    }

    [Fact]
    public async Task Sends_a_budget_and_a_group_along_and_reports_what_was_promised_and_kept()
    {
        var file = Write("tasks.txt", "un\ndos\n");
        var dear = (await host.RunAsync("submit", file, "-m", Model, "--max-cost", "0.000000000001")).Ended(Failed);
        Assert.Contains("refused (422)", dear.Error, StringComparison.Ordinal);
        Assert.Contains("max_cost: expected at least", dear.Error, StringComparison.Ordinal);

        var submitted = (
            await host.RunAsync("submit", file, "-m", Model, "-c", "express", "--fallback", "bulk", "--group", "run-1", "--watch", "--json")
        ).Ended(Ok);
        await using var database = host.Process.OpenDatabase();
        await using var group = database.CreateCommand("SELECT group_name FROM jobs WHERE id = $1");
        group.Parameters.Add(new() { Value = Guid.Parse(Field(submitted.Lines[0], "id")) });
        Assert.Equal("run-1", await group.ExecuteScalarAsync(TestContext.Current.CancellationToken));

        var report = (await host.RunAsync("report")).Ended(Ok);
        Assert.Contains(report.Lines, line => line.StartsWith("OBJECTIVE ", StringComparison.Ordinal));
        Assert.Contains(report.Lines, line => line.StartsWith("express-end-to-end median 500 ms ", StringComparison.Ordinal));
        Assert.Equal("sla_report", Field((await host.RunAsync("report", "--format", "json")).Ended(Ok).Output, "object"));
    }

    [Fact]
    public async Task Lists_recurring_work_and_erases_a_job()
    {
        var works = (await host.RunAsync("recurring")).Ended(Ok);
        Assert.Contains(works.Lines, line => line.StartsWith("retention ", StringComparison.Ordinal));
        (await host.RunAsync("recurring", "pause", "nothing")).Ended(Failed);

        var submitted = (await host.RunAsync("submit", Write("tasks.txt", "un\ndos\n"), "--model", Model, "--watch")).Ended(Ok);
        var job = JobId().Match(submitted.Output).Value;
        Assert.StartsWith("Erased: jobs 1, rows ", (await host.RunAsync("erase", job)).Ended(Ok).Output, StringComparison.Ordinal);
        Assert.Contains("no longer kept since", (await host.RunAsync("results", job)).Ended(Failed).Error, StringComparison.Ordinal);
        (await host.RunAsync("erase")).Ended(Usage);
    }

    [Fact]
    public async Task Prints_a_json_object_a_line_for_machines()
    {
        var file = Write("tasks.txt", "un\ndos\ntres\n");

        var submitted = (await host.RunAsync("submit", file, "-m", Model, "--json", "--watch", "--metadata", "team=search")).Ended(Ok);
        var job = Field(submitted.Lines[0], "id");
        var one = (await host.RunAsync("jobs", job, "--json")).Ended(Ok);
        var all = (await host.RunAsync("jobs", "--json", "--state", "completed", "-n", "100")).Ended(Ok);
        var models = (await host.RunAsync("models", "--json")).Ended(Ok);

        Assert.Equal("completed", Field(submitted.Lines[^1], "state"));
        Assert.Equal(job, Field(Assert.Single(one.Lines), "id"));
        Assert.Contains(job, all.Lines.Select(line => Field(line, "id")));
        Assert.Contains($"{Model}@1.0.0", models.Lines.Select(line => Field(line, "id")));
    }

    [Fact]
    public async Task Tells_what_a_file_would_take_and_cost_in_every_class_and_sends_nothing()
    {
        var file = Write("tasks.txt", "un\ndos\ntres\n");
        await SubmitAsync(file, Model, "--watch");
        var before = (await host.RunAsync("jobs", "--json", "-n", "1")).Ended(Ok).Lines[0];

        var told = (await host.RunAsync("submit", file, "-m", Model, "--estimate")).Ended(Ok);
        var json = (await host.RunAsync("submit", file, "-m", Model, "--estimate", "--json")).Ended(Ok);

        Assert.StartsWith($"3 tasks for {Model}@1.0.0", told.Lines[0], StringComparison.Ordinal);
        Assert.Equal(["CLASS", "express", "standard", "bulk"], told.Lines[1..].Select(line => line.Split(' ')[0]));
        Assert.All(told.Lines[2..], line => Assert.Contains("$0.0", line, StringComparison.Ordinal));
        Assert.All(told.Lines[2..], line => Assert.Matches(@"accepted +\d+ ms +[\d.]+ m?s +[\d.]+ m?s", line));
        Assert.Equal(3, JsonElement.Parse(json.Output).GetProperty("classes").GetArrayLength());
        Assert.Equal(Field(before, "id"), Field((await host.RunAsync("jobs", "--json", "-n", "1")).Ended(Ok).Lines[0], "id"));
    }

    [Fact]
    public async Task Shows_jobs_as_a_table_and_says_when_one_is_unknown()
    {
        var job = await SubmitAsync(Write("tasks.txt", "hej\n"), Model, "--watch");

        var shown = (await host.RunAsync("jobs", job)).Ended(Ok);
        var unknown = (await host.RunAsync("jobs", Guid.NewGuid().ToString())).Ended(Failed);

        Assert.Contains("completed", shown.Output, StringComparison.Ordinal);
        Assert.Contains(job, shown.Output, StringComparison.Ordinal);
        Assert.Contains("refused (404)", unknown.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_a_bad_file_line_by_line_and_keeps_nothing_of_it()
    {
        var file = Write(
            "bad.ndjson",
            """
            {"custom_id":"a","input":"good"}
            not json
            {"custom_id":"a","input":"again"}
            {"custom_id":"b","input":5}

            """
        );
        await using var database = host.Process.OpenDatabase();
        await using var count = database.CreateCommand("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM chunks)");
        var before = (long)(await count.ExecuteScalarAsync(TestContext.Current.CancellationToken))!;

        var run = (await host.RunAsync("submit", file, "--model", Model)).Ended(Failed);

        Assert.Contains("refused (", run.Error, StringComparison.Ordinal);
        Assert.Contains("line 2: expected", run.Error, StringComparison.Ordinal);
        Assert.Contains("line 3, custom_id: expected", run.Error, StringComparison.Ordinal);
        Assert.Contains("line 4, input: expected", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, await count.ExecuteScalarAsync(TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData("a.csv", "x,y|1,2|", "which column holds the input? Give --column one of: x, y")]
    [InlineData("b.csv", "text|\"open|", "line 2: expected a CSV record")]
    [InlineData("c.csv", "text,more|a|", "which column")]
    [InlineData("d.txt", "fine|\uDC80|", "line 2: expected UTF-8 text")]
    public async Task Says_where_a_file_cannot_be_read(string name, string content, string message)
    {
        var file = Path.Combine(host.NewFolder(), name);
        // Latin-1 makes the last one's stray byte.
        var bytes = content.Replace('|', '\n').Select(c => c == '\uDC80' ? (byte)0x80 : (byte)c).ToArray();
        await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);

        var run = (await host.RunAsync("submit", file, "--model", Model)).Ended(Failed);

        Assert.Contains(message, run.Error, StringComparison.Ordinal);
        Assert.Contains(file, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tells_a_command_line_that_makes_no_sense_from_one_that_fails()
    {
        var file = Write("tasks.txt", "hej\n");

        Assert.Contains("--model", (await host.RunAsync("submit", file)).Ended(Usage).Error, StringComparison.Ordinal);
        (await host.RunAsync("submit", file, "-m", Model, "--class", "sometime")).Ended(Usage);
        Assert.Contains(
            "--services needs --broker",
            (await host.RunAsync("up", "--services")).Ended(Usage).Error,
            StringComparison.Ordinal
        );

        Assert.Contains(
            "There is no file",
            (await host.RunAsync("submit", "nothing.txt", "-m", Model)).Ended(Failed).Error,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "no-such-model",
            (await host.RunAsync("submit", file, "-m", "no-such-model")).Ended(Failed).Error,
            StringComparison.Ordinal
        );
        Assert.Contains("refused (401)", (await host.RunAsync("jobs", "--key", "wrong")).Ended(Failed).Error, StringComparison.Ordinal);
        Assert.Contains(
            "No service is known here",
            (await ToolRun.RunAsync("jobs", "--data", host.NewFolder())).Ended(Failed).Error,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task Refuses_a_second_host_on_the_same_folder_and_shows_the_first()
    {
        var second = (await host.RunAsync("up", "--port", "0")).Ended(Failed);
        var status = (await host.RunAsync("status")).Ended(Ok);

        Assert.Contains($"It is up already, at {host.Process.Record.Ingest}", second.Error, StringComparison.Ordinal);
        Assert.Contains("pool default", status.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Continues_a_file_of_results_that_was_cut_short()
    {
        var lines = string.Join('\n', Enumerable.Range(0, 500).Select(i => $"sentence number {i}"));
        var job = await SubmitAsync(Write("tasks.txt", lines + "\n"), Model, "--watch");
        var file = Path.Combine(host.NewFolder(), "results.ndjson");
        (await host.RunAsync("results", job, "-o", file)).Ended(Ok);
        var whole = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(file, whole[..(whole.Length / 2)], TestContext.Current.CancellationToken);

        var run = (await host.RunAsync("results", job, "-o", file)).Ended(Ok);

        Assert.Contains("continuing after it", run.Error, StringComparison.Ordinal);
        Assert.Equal(whole, await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
        Assert.Equal(500, whole.Count(b => b == '\n'));
    }

    [Fact]
    public async Task A_cancelled_job_keeps_what_has_ended_and_is_no_success()
    {
        var job = await SubmitSlowAsync(20_000);

        (await host.RunAsync("cancel", job)).Ended(Ok);
        var watched = (await host.RunAsync("watch", job)).Ended(NotAllSucceeded);
        var results = (await host.RunAsync("results", job)).Ended(Ok);

        Assert.StartsWith("cancelled: ", watched.Lines[^1], StringComparison.Ordinal);
        Assert.Equal(20_000, results.Lines.Length);
        Assert.Equal(
            ["cancelled", "succeeded"],
            results.Lines.Select(line => Field(line, "status")).Append("succeeded").Distinct().Order()
        );
    }

    [Fact]
    public async Task A_paused_job_waits_until_it_is_resumed()
    {
        // More than the dispatches that a pause finds under way.
        var job = await SubmitSlowAsync(12_000);

        var paused = (await host.RunAsync("pause", job, "--json")).Ended(Ok);
        var resumed = (await host.RunAsync("resume", job, "--json")).Ended(Ok);
        var watched = (await host.RunAsync("watch", job)).Ended(Ok);

        Assert.True(Json(paused.Output).GetProperty("paused").GetBoolean());
        Assert.False(Json(resumed.Output).GetProperty("paused").GetBoolean());
        Assert.StartsWith("completed: 12,000 succeeded", watched.Lines[^1], StringComparison.Ordinal);
    }

    private async Task<string> SubmitAsync(string file, string model, params string[] options) =>
        JobId().Match((await host.RunAsync(["submit", file, "--model", model, .. options])).Ended(Ok).Output).Value;

    private Task<string> SubmitSlowAsync(int tasks) =>
        SubmitAsync(Write("slow.txt", string.Join('\n', RunningSystem.Texts(tasks)) + "\n"), SlowEncoder.Name, "--no-reuse");

    private string Write(string name, string content)
    {
        var path = Path.Combine(host.NewFolder(), name);
        File.WriteAllText(path, content);
        return path;
    }

    private static JsonElement Json(string text) => JsonElement.Parse(text);

    private static string Field(string line, string name) => Json(line).GetProperty(name).GetString()!;

    [GeneratedRegex("[0-9a-f]{8}-[0-9a-f-]{27}", RegexOptions.None)]
    private static partial Regex JobId();
}
