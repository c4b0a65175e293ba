using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest.OpenAi;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;
using Xunit;

namespace Pipeline.Tests.Unit.OpenAi;

public sealed class BatchTests
{
    [Theory]
    [InlineData(null, false, false, false, "validating")]
    [InlineData(JobState.Receiving, false, false, false, "validating")]
    [InlineData(null, true, true, false, "failed")]
    [InlineData(JobState.Failed, false, true, false, "failed")]
    [InlineData(JobState.Queued, false, false, false, "in_progress")]
    [InlineData(JobState.Running, false, false, false, "in_progress")]
    [InlineData(JobState.Finalizing, false, false, false, "finalizing")]
    [InlineData(JobState.Expired, false, false, false, "finalizing")]
    [InlineData(JobState.Completed, false, true, false, "completed")]
    [InlineData(JobState.Expired, false, true, false, "expired")]
    [InlineData(null, false, false, true, "cancelling")]
    [InlineData(JobState.Running, false, false, true, "cancelling")]
    [InlineData(JobState.Cancelling, false, false, false, "cancelling")]
    [InlineData(JobState.Cancelled, false, false, false, "cancelling")]
    [InlineData(JobState.Cancelled, false, true, true, "cancelled")]
    [InlineData(null, false, true, true, "cancelled")]
    public void Where_a_batch_stands_follows_from_its_row_and_its_jobs(
        JobState? job,
        bool failed,
        bool finished,
        bool cancelling,
        string status
    ) => Assert.Equal(status, BatchStore.Status(job, failed, finished, cancelling));

    [Theory]
    [InlineData("24h", 1440)]
    [InlineData("90m", 90)]
    [InlineData("120s", 2)]
    [InlineData("7d", 7 * 1440)]
    [InlineData("24", null)]
    [InlineData("h", null)]
    [InlineData("1h30m", null)]
    [InlineData("-1h", null)]
    [InlineData("1.5h", null)]
    [InlineData("24 h", null)]
    [InlineData(null, null)]
    public void A_completion_window_is_one_whole_number_and_a_unit(string? text, int? minutes)
    {
        var good = CreateBatch.TryParseWindow(text, out var length);

        Assert.Equal(minutes is not null, good);
        Assert.Equal(TimeSpan.FromMinutes(minutes ?? 0), good ? length : TimeSpan.Zero);
    }

    [Fact]
    public async Task Lines_end_with_LF_or_CRLF_or_the_file_and_keep_their_numbers()
    {
        var lines = await ReadAsync("\uFEFF{\"a\":1}\r\n\r\n{\"b\":2}\n  \n{\"c\":3}", 64);

        Assert.Equal([(1L, "{\"a\":1}", false), (3L, "{\"b\":2}", false), (5L, "{\"c\":3}", false)], lines);
    }

    [Theory]
    [InlineData(100)]
    [InlineData(300_000)]
    public async Task A_line_that_is_too_long_is_told_once_and_the_next_is_read(int length)
    {
        var lines = await ReadAsync($"one\n{new string('x', length)}\nthree\n", 64);

        Assert.Equal([(1L, false), (2L, true), (3L, false)], lines.Select(line => (line.Number, line.TooLong)));
        Assert.Equal("three", lines[^1].Text);
    }

    [Theory]
    [InlineData("""{"custom_id":"\ud800","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}""")]
    [InlineData("""{"\udc00":1,"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}""")]
    [InlineData("""{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"\ud800","input":"x"}}""")]
    public void A_line_with_half_of_a_surrogate_pair_is_a_mistake_and_not_a_failure(string line)
    {
        var told = new List<(string Code, string Message)>();

        Assert.Null(BatchLine.Read(Encoding.UTF8.GetBytes(line), Endpoints.Embeddings, (code, _, message) => told.Add((code, message))));
        Assert.Equal([("invalid_json_line", "The line expects text whose surrogates come in pairs, given half of a pair.")], told);
    }

    [Fact]
    public void Every_mistake_of_a_line_is_told()
    {
        var told = new List<(string Code, string? Param)>();

        var line = BatchLine.Read(
            """{"method":"GET","url":"/v1/x","more":1,"body":{"input":["",[],3],"dimensions":-1,"encoding_format":"int8"}}"""u8,
            Endpoints.Embeddings,
            (code, param, _) => told.Add((code, param))
        );

        Assert.Null(line);
        Assert.Equal(
            [
                ("unknown_parameter", "more"),
                ("missing_required_parameter", "custom_id"),
                ("invalid_method", "method"),
                ("invalid_url", "url"),
                ("missing_required_parameter", "body.model"),
                ("invalid_value", "body.encoding_format"),
                ("invalid_value", "body.dimensions"),
                ("empty_input", "body.input[0]"),
                ("empty_input", "body.input[1]"),
                ("invalid_value", "body.input[2]"),
            ],
            told
        );
    }

    [Theory]
    [InlineData("""{"pipeline_group":"run-1"}""", "run-1", null)]
    [InlineData("null", null, null)]
    [InlineData("{}", null, null)]
    [InlineData("""{"pipeline_group":"a b"}""", null, "metadata.pipeline_group")]
    [InlineData("""{"pipeline_group":7}""", null, "metadata.pipeline_group")]
    [InlineData("""{"other":"x"}""", null, "metadata.other")]
    [InlineData("[]", null, "metadata")]
    public void A_request_may_name_the_group_it_belongs_to(string metadata, string? group, string? mistake)
    {
        string? told = null;
        using var body = JsonDocument.Parse($$"""{"model":"m","input":"x","metadata":{{metadata}}}""");

        var read = RequestBody.Read(body.RootElement, Endpoints.Moderations, (_, param, _) => told = param);

        Assert.Equal((group, mistake), (read?.Group, told));
    }

    [Fact]
    public void Tokens_are_whole_numbers_of_the_vocabulary_as_far_as_it_is_known()
    {
        Assert.Equal([0, 255], Read("[0,255]", 256)!);
        Assert.Equal([100_000], Read("[100000]", int.MaxValue)!);
        Assert.Null(Read("[256]", 256));
        Assert.Null(Read("[-1]", int.MaxValue));
        Assert.Null(Read("[1.5]", int.MaxValue));
        Assert.Null(Read("[\"a\"]", int.MaxValue));

        static int[]? Read(string tokens, int vocabulary)
        {
            using var input = JsonDocument.Parse(tokens);
            return RequestBody.ReadTokens(input.RootElement, vocabulary, "input", (code, _, _) => Assert.Equal("invalid_token", code));
        }
    }

    private static async Task<List<(long Number, string Text, bool TooLong)>> ReadAsync(string text, int lineBytesMax)
    {
        var lines = new List<(long, string, bool)>();
        using var file = new MemoryStream(Encoding.UTF8.GetBytes(text));
        await foreach (var line in FileLines.ReadAsync(file, lineBytesMax, TestContext.Current.CancellationToken))
        {
            lines.Add((line.Number, Encoding.UTF8.GetString(line.Bytes.Span), line.TooLong));
        }

        return lines;
    }
}
