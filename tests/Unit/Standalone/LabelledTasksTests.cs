using System.IO.Compression;
using System.Text;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Client.Routes;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

public sealed class LabelledTasksTests : IDisposable
{
    private const string Lines = "{\"input\": \"é\", \"label\": \"fr\"}\n\n{\"input\": [1, 2], \"label\": \"n\"}\n";

    private readonly string _file = Path.GetTempFileName();

    [Fact]
    public async Task Reads_lines_as_they_are_and_packed()
    {
        await File.WriteAllTextAsync(_file, Lines);
        var plain = await ReadAsync();
        await using (var packed = new GZipStream(File.Create(_file), CompressionLevel.Fastest))
        {
            packed.Write(Encoding.UTF8.GetBytes(Lines));
        }

        Assert.Equal(["fr", "n"], plain.Labels);
        Assert.Equal("[1,2]", plain.Inputs[1]);
        Assert.Equal(plain.Inputs, (await ReadAsync()).Inputs);
    }

    [Theory]
    [InlineData("{\"input\": 1, \"label\": \"a\"}\nno JSON\n", "line 2: expected {\"input\": …, \"label\": \"…\"}, given no JSON")]
    [InlineData("{\"input\": 1}\n", "line 1: expected {\"input\": …, \"label\": \"…\"}, given {\"input\": 1}")]
    [InlineData("{\"input\": 1, \"label\": \"a\"}\n", "expected 2 labelled tasks or more")]
    [InlineData("{\"input\": 1, \"label\": \"a\"}\n{\"input\": \"\u00e9\", \"label\": \"a\"}\n", "line 2: expected UTF-8 text", "latin1")]
    public async Task Says_what_is_wrong_with_the_file_and_its_line(string content, string message, string encoding = "utf-8")
    {
        await File.WriteAllBytesAsync(_file, Encoding.GetEncoding(encoding).GetBytes(content));

        var refusal = await Assert.ThrowsAnyAsync<Exception>(ReadAsync);

        Assert.StartsWith($"{_file}: {message}", refusal.Message, StringComparison.Ordinal);
        Assert.True(refusal is CommandException or TaskSourceException);
    }

    public void Dispose() => File.Delete(_file);

    private Task<LabelledTasks> ReadAsync() => LabelledTasks.ReadAsync(_file, 10, TestContext.Current.CancellationToken);
}
