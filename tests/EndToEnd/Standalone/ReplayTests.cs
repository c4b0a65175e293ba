using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>A host that keeps a journal is killed; what its scheduler decided can be asked before, and lived again after.</summary>
public sealed class ReplayTests
{
    private const string Model = "language-id-small";
    private const int Ok = 0;
    private const int Failed = 1;

    [Fact]
    public async Task A_killed_hosts_journal_replays_to_the_same_decisions()
    {
        await using var folder = new DataFolder();
        var journals = Path.Combine(folder.Path, "journals");
        await using var host = await HostProcess.StartAsync(folder.Path, environment: ("Scheduler__Journal__Folder", journals));
        var job = await host.Client.SendAsync(Model, RunningSystem.Texts(3000));
        Assert.Equal(JobState.Completed, (await host.Client.UntilEndAsync(job)).State);
        var told = await DecisionsAsync(host, job.Id);
        await UntilWrittenAsync(journals, told[0].GetProperty("dispatch").GetString()!);
        await host.KillAsync();
        var journal = Assert.Single(Directory.GetFiles(journals));

        var replayed = (await ToolRun.RunAsync("replay", journal, "--job", job.Id)).Ended(Ok);

        Assert.Equal("same decisions as recorded", replayed.Lines[^1]);
        Assert.Matches("^hash [0-9a-f]{16}$", replayed.Lines[^2]);
        Assert.Contains("end: it", replayed.Output, StringComparison.Ordinal);
        Assert.All(
            told,
            decision =>
                Assert.Contains(
                    replayed.Lines,
                    line =>
                        line.Contains($"dispatch {decision.GetProperty("dispatch").GetString()}", StringComparison.Ordinal)
                        && line.Contains($"dispatch {decision.GetProperty("reason").GetString()}: ", StringComparison.Ordinal)
                )
        );
        var none = (await ToolRun.RunAsync("replay", journal, "--decisions", "--until", "2001-01-01")).Ended(Ok);
        Assert.Contains("0 facts, 0 plans, 0 decisions", none.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_journal_that_cannot_be_replayed_says_why()
    {
        await using var folder = new DataFolder();
        var file = Path.Combine(folder.Path, "journal.ndjson");
        const string head = """{"journal":1,"program":"0.1.0","started":639000000000000000,"epoch":1,"options":{}}""";

        Assert.Contains("There is no file", (await ToolRun.RunAsync("replay", file)).Ended(Failed).Error, StringComparison.Ordinal);
        await File.WriteAllTextAsync(
            file,
            head + "\n" + """{"t":1,"fact":"moon_rose","data":{}}""" + "\n",
            TestContext.Current.CancellationToken
        );
        Assert.Contains(
            $"{file}, line 2: field \"fact\"",
            (await ToolRun.RunAsync("replay", file)).Ended(Failed).Error,
            StringComparison.Ordinal
        );
        await File.WriteAllTextAsync(
            file,
            head + "\n" + """{"t":639000000000000000,"plan":1}""" + "\n",
            TestContext.Current.CancellationToken
        );
        Assert.Contains(
            "differs at line 2: recorded 1 decisions, replayed 0",
            (await ToolRun.RunAsync("replay", file)).Ended(Failed).Output,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "--until expects a time",
            (await ToolRun.RunAsync("replay", file, "--until", "noon")).Ended(Failed).Error,
            StringComparison.Ordinal
        );
    }

    private static async Task<List<JsonElement>> DecisionsAsync(HostProcess host, string job)
    {
        using var http = new HttpClient { BaseAddress = host.Record.Results };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", host.Record.ApiKey);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            using var response = await http.GetAsync($"v1/jobs/{job}/decisions", patience.Token);
            if (response.StatusCode == HttpStatusCode.ServiceUnavailable)
            {
                // A busy machine may need longer than the two seconds a scheduler is given; ask again, as the answer says.
                await Task.Delay(response.Headers.RetryAfter!.Delta!.Value, patience.Token);
                continue;
            }

            var answer = JsonElement.Parse(await response.EnsureSuccessStatusCode().Content.ReadAsStringAsync(patience.Token));
            return [.. answer.GetProperty("data").EnumerateArray()];
        }
    }

    /// <summary>The journal is flushed every second; the kill has to come after what it is to show. A heartbeat lists the dispatch, or its end does.</summary>
    private static async Task UntilWrittenAsync(string journals, string dispatch)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!IsWritten(Directory.GetFiles(journals).Single(), dispatch))
        {
            await Task.Delay(100, patience.Token);
        }
    }

    private static bool IsWritten(string path, string dispatch)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var lines = new StreamReader(new System.IO.Compression.GZipStream(file, System.IO.Compression.CompressionMode.Decompress));
        try
        {
            while (lines.ReadLine() is { } line)
            {
                if (line.Contains("dispatch_ended", StringComparison.Ordinal) && line.Contains(dispatch, StringComparison.Ordinal))
                {
                    return true;
                }
            }
        }
        catch (InvalidDataException)
        {
            // It is being written.
        }

        return false;
    }
}
