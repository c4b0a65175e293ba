using System.Diagnostics;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

public sealed class HostRecordTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pipeline-record-").FullName;

    [Fact]
    public void Is_found_again_as_it_was_saved_and_gone_when_removed()
    {
        var record = Record(Environment.ProcessId);

        record.Save(_folder);
        Assert.Equal(record, HostRecord.Find(_folder));

        HostRecord.Remove(_folder);
        Assert.Null(HostRecord.Find(_folder));
        HostRecord.Remove(_folder);
    }

    [Fact]
    public void Is_readable_by_its_owner_only_even_where_it_was_not()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Windows has no such modes.");
            return;
        }

        var path = Path.Combine(_folder, "pipeline.json");
        File.WriteAllText(path, "{}");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);

        Record(1).Save(_folder);

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("{\"ingest\": 5}")]
    [InlineData("half a rec")]
    public void A_file_that_is_no_record_counts_as_none(string content)
    {
        File.WriteAllText(Path.Combine(_folder, "pipeline.json"), content);

        Assert.Null(HostRecord.Find(_folder));
    }

    [Fact]
    public void A_folder_that_is_not_there_has_none() => Assert.Null(HostRecord.Find(Path.Combine(_folder, "nowhere")));

    [Fact]
    public async Task Is_alive_while_the_process_that_wrote_it_is()
    {
        using var process = Process.Start(new ProcessStartInfo("cat") { RedirectStandardInput = true })!;
        var record = Record(process.Id);
        Assert.True(record.IsAlive);

        process.StandardInput.Close();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.False(record.IsAlive);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static HostRecord Record(int process) =>
        new()
        {
            Ingest = new Uri("http://127.0.0.1:5320/"),
            Results = new Uri("http://127.0.0.1:5321/"),
            ApiKey = "pk_1",
            ProcessId = process,
            Database = "Host=127.0.0.1",
            ModelsFolder = "/models",
        };
}
