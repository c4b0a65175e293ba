using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Pipeline.Standalone.Client;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

public sealed class TaskSourceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pipeline-source-").FullName;

    [Theory]
    [InlineData("a.csv", TaskFormat.Csv)]
    [InlineData("A.CSV", TaskFormat.Csv)]
    [InlineData("a.ndjson", TaskFormat.Ndjson)]
    [InlineData("a.jsonl", TaskFormat.Ndjson)]
    [InlineData("a.json", TaskFormat.Ndjson)]
    [InlineData("a.txt", TaskFormat.Text)]
    [InlineData("a", TaskFormat.Text)]
    [InlineData("a.csv.gz", TaskFormat.Csv)]
    [InlineData("a.jsonl.GZ", TaskFormat.Ndjson)]
    [InlineData("a.gz", TaskFormat.Text)]
    [InlineData("-", TaskFormat.Ndjson)]
    public void Guesses_the_format_from_the_name(string path, object format) => Assert.Equal(format, TaskSource.Guess(path));

    [Fact]
    public async Task Sends_ndjson_as_it_stands_and_tells_how_much()
    {
        const string Lines = "{\"custom_id\":\"a\",\"input\":\"é\"}\n{bad\n\n";
        var told = 0L;

        var body = await BodyAsync(Lines, TaskFormat.Ndjson, sent: bytes => told += bytes);

        Assert.Equal(Lines, body);
        Assert.Equal(Encoding.UTF8.GetByteCount(Lines), told);
    }

    [Fact]
    public async Task Numbers_lines_of_text_and_leaves_empty_ones_out() =>
        Assert.Equal(
            [("1", "first"), ("3", "thïrd \"quoted\""), ("4", " ")],
            await TasksAsync("first\n\nthïrd \"quoted\"\r\n ", TaskFormat.Text)
        );

    [Fact]
    public async Task Writes_more_text_than_it_holds_in_memory()
    {
        var lines = Enumerable.Range(0, 5000).Select(i => $"{i} {new string('x', 100)}").ToArray();

        var tasks = await TasksAsync(string.Join('\n', lines), TaskFormat.Text);

        Assert.Equal(lines, tasks.Select(task => task.Input));
    }

    [Fact]
    public async Task Takes_the_only_column_of_a_csv_and_counts_lines() =>
        Assert.Equal(
            [("2", "one"), ("3", "two, with a comma"), ("4", "three \"3\"")],
            await TasksAsync("text\none\n\"two, with a comma\"\n\"three \"\"3\"\"\"\n", TaskFormat.Csv)
        );

    [Fact]
    public async Task Takes_the_columns_it_is_told() =>
        Assert.Equal(
            [("k1", "one"), ("k2", "two\nlines")],
            await TasksAsync("key,text,more\nk1,one,x\nk2,\"two\nlines\",y\n", TaskFormat.Csv, "text", "key")
        );

    [Fact]
    public async Task Takes_the_columns_that_are_called_as_in_ndjson()
    {
        const string Lines = "key,custom_id,input\nk1,one,x\n";

        Assert.Equal([("one", "x")], await TasksAsync(Lines, TaskFormat.Csv));
        Assert.Equal([("k1", "one")], await TasksAsync(Lines, TaskFormat.Csv, "custom_id", "key"));
    }

    [Theory]
    [InlineData("one\n\n\nfour\nfive", TaskFormat.Text, "one - - four five")]
    [InlineData("text\ntwo\n\"three\nand four\"\n\nsix\n", TaskFormat.Csv, "- two three_and_four - - six")]
    public async Task A_task_has_the_line_in_the_body_that_it_has_in_the_file(string content, object format, string expected)
    {
        var lines = (await BodyAsync(content, (TaskFormat)format)).TrimEnd('\n').Split('\n');

        Assert.Equal(
            expected.Split(' '),
            lines.Select(line =>
                line.Length == 0 ? "-" : JsonElement.Parse(line).GetProperty("input").GetString()!.Replace('\n', ' ').Replace(' ', '_')
            )
        );
    }

    [Theory]
    [InlineData("a,b\n1,2\n", null, null, "which column holds the input? Give --column one of: a, b")]
    [InlineData("a,b\n1,2\n", "c", null, "line 1: expected a column \"c\" (--column), given a, b")]
    [InlineData("a,b\n1,2\n", "a", "c", "line 1: expected a column \"c\" (--id-column), given a, b")]
    [InlineData("a,b\n1,2\n3\n", "a", null, "line 3: expected a CSV record")]
    [InlineData("a\n\"open\n", "a", null, "expected a CSV record")]
    [InlineData("", null, null, "line 1: expected a header line")]
    public async Task Says_what_is_wrong_with_a_csv(string content, string? column, string? idColumn, string message)
    {
        var refusal = await Assert.ThrowsAsync<TaskSourceException>(() => BodyAsync(content, TaskFormat.Csv, column, idColumn));

        Assert.Contains(message, refusal.Message, StringComparison.Ordinal);
        Assert.StartsWith(_folder, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(TaskFormat.Text, "latin1", "one\ntwo\nthird é\nfour\n", 3)]
    [InlineData(TaskFormat.Csv, "latin1", "input\ntwo\nthird é\nfour\n", 3)]
    [InlineData(TaskFormat.Csv, "latin1", "input\ntwo\nthird é", 3)]
    [InlineData(TaskFormat.Csv, "utf-16", "input\ntwo\n", 1)]
    [InlineData(TaskFormat.Text, "utf-16", "one\ntwo\n", 1)]
    public async Task Refuses_what_is_not_utf8(object format, string encoding, string content, int line)
    {
        var encoded = Encoding.GetEncoding(encoding);

        var refusal = await Assert.ThrowsAsync<TaskSourceException>(() =>
            BodyAsync([.. encoded.GetPreamble(), .. encoded.GetBytes(content)], "file", (TaskFormat)format)
        );

        Assert.StartsWith($"{Path.Combine(_folder, "file")}: line {line}: expected UTF-8 text", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Takes_a_csv_whose_letters_lie_across_what_is_read_at_once()
    {
        var lines = Enumerable.Range(0, 50_000).Select(i => $"{i}é€𝄞").ToArray();

        var tasks = await TasksAsync($"text\n{string.Join('\n', lines)}", TaskFormat.Csv);

        Assert.Equal(lines, tasks.Select(task => task.Input));
    }

    [Theory]
    [InlineData(TaskFormat.Ndjson, "{\"custom_id\":\"1\",\"input\":\"a\"}\n")]
    [InlineData(TaskFormat.Csv, "input\na\n")]
    [InlineData(TaskFormat.Text, "a\n")]
    public async Task Unpacks_gzip_whatever_it_is_called(object format, string content)
    {
        foreach (var name in new[] { "file.gz", "file" })
        {
            var body = await BodyAsync(Pack(content), name, (TaskFormat)format);
            Assert.Equal("a", JsonElement.Parse(body.Trim()).GetProperty("input").GetString());
        }
    }

    [Fact]
    public async Task Refuses_gzip_that_was_cut_off()
    {
        var packed = Pack(string.Join('\n', Enumerable.Range(0, 10_000)));
        foreach (var bytes in new[] { packed[..^10], packed[..(packed.Length / 2)] })
        {
            var refusal = await Assert.ThrowsAsync<TaskSourceException>(() => BodyAsync(bytes, "file.gz", TaskFormat.Text));
            Assert.Contains("expected gzip, as it begins", refusal.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("file.gz", "no gzip", "other bytes than its name says")]
    [InlineData("file.txt", "PK\u0003\u0004...", "save that as CSV")]
    [InlineData("file.csv", "(\u00b5/\u00fd...", "zstd -d")]
    [InlineData("file.ndjson", "\u00fd7zXZ\0", "xz -d")]
    public async Task Says_what_a_file_is_that_holds_no_lines(string name, string latin1, string message)
    {
        var bytes = Encoding.Latin1.GetBytes(latin1);

        var refusal = await Assert.ThrowsAsync<TaskSourceException>(() => BodyAsync(bytes, name, TaskSource.Guess(name)));

        Assert.StartsWith($"{Path.Combine(_folder, name)}: expected lines of text", refusal.Message, StringComparison.Ordinal);
        Assert.Contains(message, refusal.Message, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static byte[] Pack(string content)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(Encoding.UTF8.GetBytes(content));
        }

        return packed.ToArray();
    }

    private async Task<(string Id, string Input)[]> TasksAsync(
        string content,
        TaskFormat format,
        string? column = null,
        string? idColumn = null
    ) =>
        [
            .. (await BodyAsync(content, format, column, idColumn))
                .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => JsonElement.Parse(line))
                .Select(task => (task.GetProperty("custom_id").GetString()!, task.GetProperty("input").GetString()!)),
        ];

    private Task<string> BodyAsync(
        string content,
        TaskFormat format,
        string? column = null,
        string? idColumn = null,
        Action<long>? sent = null
    ) => BodyAsync(Encoding.UTF8.GetBytes(content), "file", format, column, idColumn, sent);

    private async Task<string> BodyAsync(
        byte[] content,
        string name,
        TaskFormat format,
        string? column = null,
        string? idColumn = null,
        Action<long>? sent = null
    )
    {
        var path = Path.Combine(_folder, name);
        await File.WriteAllBytesAsync(path, content, TestContext.Current.CancellationToken);
        using var body = new TaskSource(path, format, column, idColumn).Body(sent, TestContext.Current.CancellationToken);
        using var to = new MemoryStream();
        await body.CopyToAsync(to, TestContext.Current.CancellationToken);
        return Encoding.UTF8.GetString(to.ToArray());
    }
}
