using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;
using Pipeline.OpenAi.Files;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// <c>POST /v1/files</c> (multipart/form-data, RFC 7578): the file's bytes go to the database as they come, before or after its purpose is
/// known, and nothing is left of a file whose request is refused. <c>DELETE /v1/files/{id}</c> removes one.
/// </summary>
internal sealed class UploadFile(FileStore files, IngestOptions options)
{
    private const int FieldBytesMax = 1024;
    private const int FilenameMax = 512;
    private const int LifeSecondsMin = 3600;
    private const int LifeSecondsMax = 30 * 24 * 3600;
    private static readonly string[] Fields = ["file", "purpose", "expires_after[anchor]", "expires_after[seconds]"];
    private int _uploads;

    public async Task<IResult> DeleteAsync(string id, HttpContext http)
    {
        var stop = http.RequestAborted;
        if (!FileId.TryParse(id, out var file) || await files.FindAsync(http.Tenant(), file, stop) is null)
        {
            return ReadFiles.Unknown(id);
        }

        return await files.DeleteAsync(http.Tenant(), file, stop)
            ? Results.Json(
                new
                {
                    id,
                    @object = "file",
                    deleted = true,
                }
            )
            : Problems.Result(FailureKind.InvalidState, "An unfinished batch reads from this file; cancel it, or wait for its end.", "id");
    }

    public async Task<IResult> HandleAsync(HttpContext http)
    {
        try
        {
            return Interlocked.Increment(ref _uploads) <= options.UploadsMax
                ? await ReceiveAsync(http)
                : Problems.Result(FailureKind.RateLimited, $"{options.UploadsMax} files are coming in already. Send this one again soon.");
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status400BadRequest)
        {
            return CutOff(e);
        }
        catch (InvalidDataException e)
        {
            return Problems.Result(FailureKind.InvalidRequest, $"The multipart body cannot be read: {e.Message} Nothing was stored.");
        }
        catch (IOException) when (http.RequestAborted.IsCancellationRequested)
        {
            return Results.Empty;
        }
        catch (IOException e)
        {
            return CutOff(e);
        }
        finally
        {
            Interlocked.Decrement(ref _uploads);
        }
    }

    private async Task<IResult> ReceiveAsync(HttpContext http)
    {
        var stop = http.RequestAborted;
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            // The file itself is counted; what stands around it is bounded by its own limits.
            size.MaxRequestBodySize = null;
        }

        var mistakes = new Mistakes(options.MistakesMax);
        if (Boundary(http.Request) is not { } boundary)
        {
            mistakes.Add("Content-Type", "multipart/form-data with a boundary", $"\"{Excerpt.Of(http.Request.ContentType ?? "")}\"");
            return Admission.Refuse(mistakes);
        }

        var reader = new MultipartReader(boundary, http.Request.Body);
        var fields = new Dictionary<string, string>(StringComparer.Ordinal);
        FileWriter? writer = null;
        string? filename = null;
        try
        {
            while (await reader.ReadNextSectionAsync(stop) is { } section)
            {
                var (name, given) = Disposition(section);
                if (name == "file" && writer is null)
                {
                    filename = Filename(given, mistakes);
                    writer = await files.CreateAsync(http.Tenant(), FilePurposes.Uploaded[0], "upload", stop);
                    if (!await CopyAsync(section.Body, writer, stop))
                    {
                        return Problems.Result(
                            FailureKind.InputTooLarge,
                            $"A file expects at most {options.FileBytesMax} bytes, given more. Nothing was stored.",
                            "file"
                        );
                    }
                }
                else if (!Fields.Contains(name) || fields.ContainsKey(name!) || name == "file")
                {
                    var known = Fields.Contains(name);
                    mistakes.Add(
                        Excerpt.Of(name ?? "part"),
                        known ? "the part once" : $"parts {string.Join(", ", Fields)}",
                        known ? "twice" : "another"
                    );
                }
                else
                {
                    fields[name!] = await ReadFieldAsync(section.Body, name!, mistakes, stop);
                }
            }

            var purpose = Purpose(fields, mistakes);
            var life = Life(fields, purpose, mistakes);
            if (writer is null)
            {
                mistakes.Add("file", "the file's bytes", "nothing");
            }

            if (mistakes.Any)
            {
                return Admission.Refuse(mistakes);
            }

            var file = await writer!.CompleteAsync(purpose!, filename!, writer.CreatedAt + life, stop);
            return Results.Json(FileView.Of(file), ApiJson.Options);
        }
        finally
        {
            if (writer is not null)
            {
                await writer.DisposeAsync();
            }
        }
    }

    private static string? Boundary(HttpRequest request) =>
        MediaTypeHeaderValue.TryParse(request.ContentType, out var type)
        && type.MediaType.Equals("multipart/form-data", StringComparison.OrdinalIgnoreCase)
        && HeaderUtilities.RemoveQuotes(type.Boundary).Value is { Length: > 0 and <= 200 } boundary
            ? boundary
            : null;

    /// <summary>Name and file name of a part; quoted or not.</summary>
    private static (string? Name, string? Filename) Disposition(MultipartSection section)
    {
        if (!ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out var disposition))
        {
            return (null, null);
        }

        var filename = disposition.FileNameStar.HasValue ? disposition.FileNameStar : HeaderUtilities.RemoveQuotes(disposition.FileName);
        return (HeaderUtilities.RemoveQuotes(disposition.Name).Value, filename.Value);
    }

    private static string Filename(string? given, Mistakes mistakes)
    {
        // Browsers' rules, which fetch follows: a quote and line ends are escaped so, and nothing else is (WHATWG HTML, multipart/form-data).
        var name = (given ?? "")
            .Replace("%22", "\"", StringComparison.Ordinal)
            .Replace("%0D", "\r", StringComparison.OrdinalIgnoreCase)
            .Replace("%0A", "\n", StringComparison.OrdinalIgnoreCase);
        if (name.Length > FilenameMax || name.Contains('\0'))
        {
            mistakes.Add("file", $"a filename of at most {FilenameMax} characters without U+0000", $"{name.Length} characters");
        }

        return name.Length == 0 ? "upload" : name;
    }

    /// <returns>False when the file is larger than allowed.</returns>
    private async Task<bool> CopyAsync(Stream body, FileWriter writer, CancellationToken stop)
    {
        var buffer = new byte[64 * 1024];
        while (await body.ReadAsync(buffer, stop) is var read and > 0)
        {
            if (writer.Bytes + read > options.FileBytesMax)
            {
                return false;
            }

            await writer.WriteAsync(buffer.AsMemory(0, read), stop);
        }

        return true;
    }

    private static async Task<string> ReadFieldAsync(Stream body, string name, Mistakes mistakes, CancellationToken stop)
    {
        var buffer = new byte[FieldBytesMax + 1];
        var length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, stop);
        if (length > FieldBytesMax)
        {
            mistakes.Add(name, $"at most {FieldBytesMax} bytes", "more");
        }

        return Encoding.UTF8.GetString(buffer, 0, Math.Min(length, FieldBytesMax)).Trim();
    }

    private static string? Purpose(Dictionary<string, string> fields, Mistakes mistakes)
    {
        var purpose = fields.GetValueOrDefault("purpose");
        if (!FilePurposes.Uploaded.Contains(purpose))
        {
            var expected = $"one of {string.Join(", ", FilePurposes.Uploaded)}";
            mistakes.Add("purpose", expected, purpose is null ? "nothing" : $"\"{Excerpt.Of(purpose)}\"");
        }

        return purpose;
    }

    /// <summary>How long the file is kept; null for ever. Input of batches is kept for 30 days where nothing else is said.</summary>
    private static TimeSpan? Life(Dictionary<string, string> fields, string? purpose, Mistakes mistakes)
    {
        var anchor = fields.GetValueOrDefault("expires_after[anchor]");
        if (anchor is not (null or "created_at"))
        {
            mistakes.Add("expires_after[anchor]", "created_at", $"\"{Excerpt.Of(anchor)}\"");
        }

        if (fields.GetValueOrDefault("expires_after[seconds]") is not { } text)
        {
            return purpose == FilePurposes.Batch ? TimeSpan.FromSeconds(LifeSecondsMax) : null;
        }

        if (
            !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            || seconds is < LifeSecondsMin or > LifeSecondsMax
        )
        {
            mistakes.Add("expires_after[seconds]", $"{LifeSecondsMin} to {LifeSecondsMax}", $"\"{Excerpt.Of(text)}\"");
        }

        return TimeSpan.FromSeconds(seconds);
    }

    private static ProblemResult CutOff(Exception e) =>
        Problems.Result(FailureKind.InvalidRequest, $"The multipart body was cut off: {e.Message} Nothing was stored.", "file");
}
