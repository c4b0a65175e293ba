using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Unit.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Scheduler;

public sealed class JournalTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pipeline-journal-").FullName;
    private readonly PolicyWorld _world = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_term_that_was_written_down_is_decided_the_same_again(bool gzip)
    {
        var hash = await LiveAsync(new JournalOptions { Folder = _folder, Gzip = gzip }, seconds: 20);

        using var journal = JournalReader.Open(OnlyFile());
        var replay = Replay(journal);

        Assert.Equal((null, null, hash), (replay.Difference, journal.CutOff, TraceHash.Text(replay.Hash)));
        Assert.Equal((7L, 20L), (journal.Head.Epoch, replay.Plans));
        Assert.True(replay.Decisions >= 20, $"{replay.Decisions} decisions");
    }

    [Fact]
    public async Task The_last_line_says_why_nothing_follows()
    {
        await LiveAsync(new JournalOptions { Folder = _folder }, seconds: 1);

        using var journal = JournalReader.Open(OnlyFile());
        Assert.Equal("the term is over", Assert.IsType<JournalEnd>(journal.Lines().Last()).Reason);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_file_that_was_cut_off_is_replayed_up_to_there_and_says_so(bool gzip)
    {
        await LiveAsync(new JournalOptions { Folder = _folder, Gzip = gzip }, seconds: 20);
        var bytes = await File.ReadAllBytesAsync(OnlyFile(), TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(OnlyFile(), bytes[..(bytes.Length - (bytes.Length / 4))], TestContext.Current.CancellationToken);

        using var journal = JournalReader.Open(OnlyFile());
        var replay = Replay(journal);

        Assert.StartsWith($"it breaks off in line {journal.Line}", journal.CutOff, StringComparison.Ordinal);
        Assert.Equal(gzip, journal.CutOff!.Contains("packed", StringComparison.Ordinal));
        Assert.Null(replay.Difference);
        Assert.InRange(replay.Plans, 1, 19);
    }

    [Fact]
    public async Task A_changed_decision_is_found_at_the_first_line_that_differs()
    {
        await LiveAsync(new JournalOptions { Folder = _folder, Gzip = false }, seconds: 5);
        var lines = await File.ReadAllLinesAsync(OnlyFile(), TestContext.Current.CancellationToken);
        var arrived = Array.FindIndex(lines, line => line.Contains("chunk_arrived", StringComparison.Ordinal));
        lines[arrived] = lines[arrived].Replace("\"tasks\":512", "\"tasks\":511", StringComparison.Ordinal);
        await File.WriteAllTextAsync(OnlyFile(), string.Join('\n', lines) + "\n", TestContext.Current.CancellationToken);

        using var journal = JournalReader.Open(OnlyFile());
        var replay = new JournalReplay(journal.Head);
        var differs = journal.Lines().First(line => replay.Take(line) is not null && replay.Difference is not null);

        Assert.IsType<JournalPlan>(differs);
        Assert.True(journal.Line > arrived + 1);
        Assert.Contains("recorded hash", replay.Difference, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_line_that_cannot_be_read_is_told_with_file_and_number()
    {
        await LiveAsync(new JournalOptions { Folder = _folder, Gzip = false }, seconds: 2);
        var lines = await File.ReadAllLinesAsync(OnlyFile(), TestContext.Current.CancellationToken);
        lines[2] = """{"t":1,"fact":"moon_rose","data":{}}""";
        await File.WriteAllTextAsync(OnlyFile(), string.Join('\n', lines) + "\n", TestContext.Current.CancellationToken);

        using var journal = JournalReader.Open(OnlyFile());
        var e = Assert.Throws<JournalException>(() => journal.Lines().Count());

        Assert.StartsWith($"{OnlyFile()}, line 3: field \"fact\": expected a kind of fact", e.Message, StringComparison.Ordinal);
        Assert.Contains("given \"moon_rose\"", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "given an empty file")]
    [InlineData("\n", "line 1: expected a JSON object")]
    [InlineData("no journal", "it breaks off in line 1")]
    [InlineData("no journal\n", "line 1: expected a JSON object")]
    public void A_file_that_is_no_journal_is_refused(string content, string message)
    {
        var path = Path.Combine(_folder, "other.ndjson");
        File.WriteAllText(path, content);

        Assert.Contains(message, Assert.Throws<JournalException>(() => JournalReader.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_full_file_ends_with_a_line_that_says_so()
    {
        await LiveAsync(
            new JournalOptions
            {
                Folder = _folder,
                Gzip = false,
                BytesMax = 100_000,
            },
            seconds: 2000
        );

        using var journal = JournalReader.Open(OnlyFile());
        var replay = Replay(journal, out var last);

        Assert.Equal("the file has reached 100000 bytes", Assert.IsType<JournalEnd>(last).Reason);
        Assert.InRange(new FileInfo(OnlyFile()).Length, 100_000, 400_000);
        Assert.Null(replay.Difference);
    }

    [Fact]
    public async Task A_writer_that_falls_behind_ends_the_journal_and_nothing_else()
    {
        var options = new JournalOptions { Folder = _folder, LinesWaitingMax = 16 };
        var file = new JournalFile(new JournalHead("1", _world.Now.UtcTicks, 7, new PolicyOptions()), options);
        for (var line = 0; line < 20; line++)
        {
            file.AddPlan([], _world.Now.UtcTicks + line);
        }

        var path = Path.Combine(_folder, file.Name);
        var cut = await file.WriteAsync(path, TimeProvider.System);

        Assert.Equal("writing fell behind by 16 lines", cut);
        using var journal = JournalReader.Open(path);
        var lines = journal.Lines().ToList();
        Assert.Equal(17, lines.Count);
        Assert.Equal(new JournalEnd(_world.Now.UtcTicks + 16, cut!), lines[^1]);
    }

    [Fact]
    public async Task The_oldest_journals_make_room()
    {
        var options = new JournalOptions { Folder = _folder, FilesKept = 3 };
        foreach (var day in Enumerable.Range(1, 5))
        {
            await File.WriteAllTextAsync(
                Path.Combine(_folder, $"journal-2025010{day}T000000.000Z-epoch-{9 - day}.ndjson.gz"),
                "",
                TestContext.Current.CancellationToken
            );
        }

        await LiveAsync(options, seconds: 1);

        Assert.Equal(
            [
                "journal-20250104T000000.000Z-epoch-5.ndjson.gz",
                "journal-20250105T000000.000Z-epoch-4.ndjson.gz",
                "journal-20260101T000000.000Z-epoch-7.ndjson.gz",
            ],
            Directory.GetFiles(_folder).Select(Path.GetFileName).Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public async Task A_folder_that_cannot_be_made_stops_nothing()
    {
        var file = Path.Combine(_folder, "a file");
        await File.WriteAllTextAsync(file, "", TestContext.Current.CancellationToken);

        await LiveAsync(new JournalOptions { Folder = Path.Combine(file, "below") }, seconds: 3);

        Assert.Equal(["a file"], Directory.GetFileSystemEntries(_folder).Select(Path.GetFileName));
    }

    [Fact]
    public async Task Nothing_is_written_where_no_folder_is_named()
    {
        await LiveAsync(new JournalOptions(), seconds: 3);

        Assert.Empty(Directory.GetFiles(_folder));
    }

    /// <summary>A worker gets a chunk each second and runs it, a journal beside, as the scheduler's loop has it.</summary>
    /// <returns>The hash of what was decided.</returns>
    private async Task<string> LiveAsync(JournalOptions options, int seconds)
    {
        var settings = new SchedulerOptions { Journal = options };
        var journal = new Journal(settings, TimeProvider.System, NullLogger<Journal>.Instance);
        var planner = new Planner(settings.Policy, 7, _world.Now);
        journal.Begin(7, _world.Now);
        var worker = _world.Worker();
        var hash = new TraceHash();
        for (var second = 0; second < seconds; second++)
        {
            Observe(new ChunkArrived(_world.Chunk()));
            Observe(new WorkerSeen(PolicyWorld.Heartbeat(worker, epoch: 7)));
            var decisions = planner.Plan(_world.Now);
            journal.Planned(decisions, _world.Now);
            hash.Add(decisions);
            foreach (var sent in decisions.OfType<SendDispatch>())
            {
                Observe(new DispatchEnded(PolicyWorld.Report(sent.Dispatch, SliceOutcome.Done)));
            }

            _world.Wait(TimeSpan.FromSeconds(1));
        }

        journal.End(_world.Now, "the term is over");
        await journal.DrainAsync();
        return TraceHash.Text(hash.Value);

        void Observe(Fact fact)
        {
            journal.Observed(fact, _world.Now);
            planner.Observe(fact, _world.Now);
        }
    }

    private string OnlyFile() => Assert.Single(Directory.GetFiles(_folder, JournalFile.Pattern));

    private static JournalReplay Replay(JournalReader journal) => Replay(journal, out _);

    private static JournalReplay Replay(JournalReader journal, out JournalLine? last)
    {
        var replay = new JournalReplay(journal.Head);
        last = null;
        foreach (var line in journal.Lines())
        {
            replay.Take(line);
            last = line;
        }

        return replay;
    }
}
