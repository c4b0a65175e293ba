using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Pipeline.Contracts;
using Pipeline.OpenAi.Files;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Files as they come in, in every shape that official clients and browsers send.</summary>
public sealed class FilesTests
{
    private const string Boundary = "a=b_c";

    [Theory]
    [InlineData("file", "purpose")]
    [InlineData("purpose", "file")]
    public async Task Parts_come_in_any_order_unquoted_and_untyped(string first, string second)
    {
        await using var host = await IngestHost.StartAsync();
        var parts = new Dictionary<string, string>
        {
            ["file"] = Part("form-data; name=file; filename=in.jsonl; filename*=utf-8''in%C3%A9.jsonl", "line 1\r\nline 2\r\n"),
            ["purpose"] = Part("form-data; name=purpose", "batch"),
        };

        using var response = await SendAsync(host, parts[first] + parts[second]);
        var file = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(("iné.jsonl", 16L), (file.GetProperty("filename").GetString(), file.GetProperty("bytes").GetInt64()));
        Assert.True(FileId.TryParse(file.GetProperty("id").GetString(), out var id));
        var stored = await host.Get<FileStore>().FindAsync(host.Tenant, id, TestContext.Current.CancellationToken);
        using var content = new StreamReader(host.Get<FileStore>().Open(stored!));
        Assert.Equal("line 1\r\nline 2\r\n", await content.ReadToEndAsync(TestContext.Current.CancellationToken));
        Assert.True(response.Headers.Contains("x-request-id"));
    }

    [Fact]
    public async Task A_file_of_many_parts_is_read_from_any_place()
    {
        await using var host = await IngestHost.StartAsync();
        var text = string.Concat(Enumerable.Range(0, 200_000).Select(i => $"{i:D7}\n"));

        using var response = await SendAsync(
            host,
            Part("form-data; name=purpose", "user_data") + Part("form-data; name=file; filename=x", text)
        );

        Assert.True(FileId.TryParse((await response.JsonAsync()).GetProperty("id").GetString(), out var id));
        var stored = await host.Get<FileStore>().FindAsync(host.Tenant, id, TestContext.Current.CancellationToken);
        await using var content = host.Get<FileStore>().Open(stored!);
        Assert.Equal(text.Length, content.Length);
        var buffer = new byte[8];
        foreach (var line in new[] { 0, 32_767, 32_768, 99_999, 199_999 })
        {
            content.Position = line * 8L;
            await content.ReadExactlyAsync(buffer, TestContext.Current.CancellationToken);
            Assert.Equal($"{line:D7}\n", Encoding.UTF8.GetString(buffer));
        }
    }

    [Fact]
    public async Task What_is_refused_leaves_nothing_behind()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:FileBytesMax", "1000"));
        var file = Part("form-data; name=file; filename=x", "text");
        var purpose = Part("form-data; name=purpose", "batch");

        using var tooLarge = await SendAsync(host, Part("form-data; name=file; filename=x", new string('x', 1001)) + purpose);
        using var noPurpose = await SendAsync(host, file);
        using var wrongPurpose = await SendAsync(host, file + Part("form-data; name=purpose", "batch_output"));
        using var noFile = await SendAsync(host, purpose);
        using var twice = await SendAsync(host, file + file + purpose);
        using var stray = await SendAsync(host, file + purpose + Part("form-data; name=colour", "red"));
        using var shortLife = await SendAsync(host, file + purpose + Part("form-data; name=\"expires_after[seconds]\"", "10"));
        using var cutOff = await SendAsync(host, file + purpose, end: "");

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, tooLarge.StatusCode);
        foreach (var refused in new[] { noPurpose, wrongPurpose, noFile, twice, stray, shortLife, cutOff })
        {
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        }

        Assert.Equal("purpose", (await noPurpose.JsonAsync()).FirstMistake().Field);
        Assert.Equal("expires_after[seconds]", (await shortLife.JsonAsync()).FirstMistake().Field);
        Assert.Equal(0, await host.Database.ScalarAsync<long>("SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM file_parts)"));
    }

    private static string Part(string disposition, string text) => $"--{Boundary}\r\nContent-Disposition: {disposition}\r\n\r\n{text}\r\n";

    private static async Task<HttpResponseMessage> SendAsync(IngestHost host, string parts, string end = $"--{Boundary}--\r\n")
    {
        using var body = new ByteArrayContent(Encoding.UTF8.GetBytes(parts + end));
        body.Headers.ContentType = MediaTypeHeaderValue.Parse($"multipart/form-data; boundary=\"{Boundary}\"");
        return await host.Client.PostAsync("/v1/files", body, TestContext.Current.CancellationToken);
    }
}
