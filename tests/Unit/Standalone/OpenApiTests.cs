using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Routing;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Standalone.OpenApi;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

/// <summary>The API's document is what the code says, all that is mapped, and valid.</summary>
public sealed partial class OpenApiTests
{
    private static readonly JsonElement Document = JsonElement.Parse(File.ReadAllText(CheckedIn()));

    [Fact]
    public async Task The_checked_in_document_is_what_the_code_makes()
    {
        var made = await OpenApiMaker.MakeAsync(TestContext.Current.CancellationToken);

        var (is_, should) = (Lines(File.ReadAllText(CheckedIn())), Lines(made));
        var first = is_.Zip(should).TakeWhile(pair => pair.First == pair.Second).Count();
        Assert.True(
            is_.SequenceEqual(should),
            $"compose/openapi.json is not what the code makes: run \"./pipeline openapi\", look at the difference, and check it in.\n"
                + $"They part at line {first + 1}:\n  checked in: {is_.ElementAtOrDefault(first)}\n  the code:   {should.ElementAtOrDefault(first)}"
        );
    }

    [Fact]
    public async Task Every_mapped_route_is_in_the_document_and_every_documented_operation_is_mapped()
    {
        await using var app = OpenApiMaker.Build();
        var mapped = OpenApiMaker
            .Endpoints(app.Services)
            // The dashboard's pages are no part of the API.
            .Where(endpoint => endpoint.Metadata.GetMetadata<IExcludeFromDescriptionMetadata>() is null)
            .SelectMany(endpoint =>
                // A route without methods takes any; it is documented as what it is for.
                (endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"]).Select(method =>
                    $"{method} {Path(endpoint.RoutePattern.RawText!)}"
                )
            );

        Assert.Equal(mapped.Order(StringComparer.Ordinal), Operations().Select(o => $"{o.Method} {o.Path}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_document_is_OpenAPI_3_1_and_tells_every_operation_in_words()
    {
        Assert.StartsWith("3.1.", Document.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        var ids = Operations().Select(o => o.Value.GetProperty("operationId").GetString()).ToArray();
        Assert.Equal(ids.Length, ids.Distinct().Count());
        var tags = Document.GetProperty("tags").EnumerateArray().Select(tag => tag.GetProperty("name").GetString()).ToArray();
        Assert.All(
            Operations(),
            o =>
            {
                Assert.Matches("^[A-Z].*\\.$", o.Value.GetProperty("summary").GetString());
                Assert.NotEmpty(o.Value.GetProperty("description").GetString()!);
                Assert.Contains(Assert.Single(o.Value.GetProperty("tags").EnumerateArray()).GetString(), tags);
                Assert.Contains(o.Value.GetProperty("responses").EnumerateObject(), response => response.Name[0] == '2');
            }
        );
    }

    [Fact]
    public void Every_reference_leads_somewhere() =>
        Assert.All(
            Everything(Document).Where(e => e.ValueKind == JsonValueKind.Object && e.TryGetProperty("$ref", out _)),
            e => Assert.NotEqual(JsonValueKind.Undefined, Resolve(e).ValueKind)
        );

    [Fact]
    public void The_parameters_of_every_path_are_declared() =>
        Assert.All(
            Operations(),
            o =>
            {
                var declared = Parameters(o.Value).Where(p => p.GetProperty("in").ValueEquals("path")).ToArray();
                Assert.All(declared, p => Assert.True(p.GetProperty("required").GetBoolean()));
                Assert.Equal(
                    PathParameter().Matches(o.Path).Select(m => m.Groups[1].Value),
                    declared.Select(p => p.GetProperty("name").GetString())
                );
            }
        );

    [Fact]
    public void A_key_is_asked_for_except_where_the_document_says_so()
    {
        Assert.True(Document.GetProperty("security")[0].TryGetProperty("apiKey", out _));
        Assert.Equal(
            "bearer",
            Document.GetProperty("components").GetProperty("securitySchemes").GetProperty("apiKey").GetProperty("scheme").GetString()
        );
        Assert.Equal(
            ["/healthz/live", "/healthz/ready", "/metrics", "/openapi.json", "/v2/health/live", "/v2/health/ready"],
            Operations().Where(o => o.Value.TryGetProperty("security", out _)).Select(o => o.Path)
        );
    }

    [Fact]
    public void The_document_explains_every_code_as_the_failure_kinds_do()
    {
        var schema = Document.GetProperty("components").GetProperty("schemas").GetProperty("FailureCode");

        Assert.Equal(FailureKinds.All.Select(kind => kind.Info().Code), Strings(schema.GetProperty("enum")));
        Assert.All(
            FailureKinds.All.Select(kind => kind.Info()),
            info =>
            {
                var told = schema.GetProperty("x-codes").GetProperty(info.Code);
                Assert.Equal(info.Next, told.GetProperty("next").GetString());
                Assert.Equal(info.Retry, told.GetProperty("retry").GetBoolean());
                Assert.Contains($"`{info.Code}`", schema.GetProperty("description").GetString(), StringComparison.Ordinal);
            }
        );
    }

    [Fact]
    public void Every_error_response_names_codes_of_its_status()
    {
        var statuses = FailureKinds.All.ToDictionary(kind => kind.Info().Code, kind => kind.Info().HttpStatus);
        Assert.All(
            Operations()
                .SelectMany(o =>
                    o.Value.GetProperty("responses").EnumerateObject().Where(r => r.Name[0] is '4' or '5' && IsError(r.Value))
                ),
            response =>
            {
                var codes = Codes(Resolve(response.Value)).ToArray();
                Assert.NotEmpty(codes);
                Assert.All(codes, code => Assert.Equal(response.Name, $"{statuses[code]}"));
            }
        );
    }

    [Fact]
    public void Every_operation_with_a_key_says_that_the_key_may_be_wrong_and_that_servers_may_be_away() =>
        Assert.All(
            Operations().Where(o => !o.Value.TryGetProperty("security", out _)),
            o =>
                Assert.Superset(
                    new HashSet<string>(["401", "500", "503"]),
                    o.Value.GetProperty("responses").EnumerateObject().Select(r => r.Name).ToHashSet()
                )
        );

    [Fact]
    public void Every_answer_and_every_body_in_words_has_an_example_that_fits_its_schema()
    {
        var answers = Operations()
            .SelectMany(o => o.Value.GetProperty("responses").EnumerateObject().Select(r => (o.Path, Content: Resolve(r.Value))));
        var bodies = Operations()
            .Where(o => o.Value.TryGetProperty("requestBody", out _))
            .Select(o => (o.Path, Content: o.Value.GetProperty("requestBody")));
        var forms = answers
            .Concat(bodies)
            .Where(a => a.Content.TryGetProperty("content", out _))
            .SelectMany(a => a.Content.GetProperty("content").EnumerateObject().Select(form => (a.Path, MediaType: form.Name, form.Value)))
            .Where(form => form.MediaType != "application/octet-stream" && form.Path != "/openapi.json")
            .ToArray();

        Assert.All(
            forms,
            form =>
            {
                var examples = ExamplesOf(form.Value).ToArray();
                Assert.NotEmpty(examples);
                if (
                    form.MediaType.EndsWith("json", StringComparison.Ordinal)
                    && !form.MediaType.EndsWith("ndjson", StringComparison.Ordinal)
                )
                {
                    Assert.All(examples, example => Assert.Null(Misfit(example, form.Value.GetProperty("schema"), "")));
                }
                else if (form.MediaType == "application/x-ndjson" && form.Value.GetProperty("schema").TryGetProperty("$ref", out _))
                {
                    var lines = examples[0].GetString()!.Split('\n', StringSplitOptions.RemoveEmptyEntries);
                    Assert.All(lines, line => Assert.Null(Misfit(JsonElement.Parse(line), form.Value.GetProperty("schema"), "")));
                }
            }
        );
    }

    [Fact]
    public void Examples_of_errors_say_what_the_failure_kinds_say()
    {
        var kinds = FailureKinds.All.Select(kind => kind.Info()).ToDictionary(info => info.Code);
        var examples = Document
            .GetProperty("components")
            .GetProperty("examples")
            .EnumerateObject()
            .Select(e => e.Value.GetProperty("value"));
        Assert.All(
            examples,
            example =>
            {
                var info = kinds[example.GetProperty("code").GetString()!];
                Assert.Equal(info.Next, example.GetProperty("next").GetString());
                Assert.Equal(info.Retry, example.GetProperty("retry").GetBoolean());
            }
        );
    }

    [Fact]
    public void The_document_names_no_place_and_no_host() =>
        Assert.DoesNotMatch("127\\.0\\.0\\.1|localhost|/tmp/|/home/", File.ReadAllText(CheckedIn()));

    [Fact]
    public void The_request_file_has_a_request_for_every_operation()
    {
        var requests = RequestLine()
            .Matches(
                File.ReadAllText(
                    System.IO.Path.ChangeExtension(CheckedIn(), ".http").Replace("openapi.http", "pipeline.http", StringComparison.Ordinal)
                )
            )
            .Select(m => (Method: m.Groups[1].Value, Path: m.Groups[2].Value))
            .ToArray();
        Assert.All(
            Operations(),
            o => Assert.Contains(requests, request => request.Method == o.Method && Pattern(o.Path).IsMatch(request.Path))
        );
        Assert.All(
            requests,
            request => Assert.Contains(Operations(), o => request.Method == o.Method && Pattern(o.Path).IsMatch(request.Path))
        );
    }

    private static Regex Pattern(string path) =>
        new($"^{PathParameter().Replace(Regex.Escape(path).Replace("\\{", "{", StringComparison.Ordinal), "[^/?]+")}$");

    private static IEnumerable<(string Method, string Path, JsonElement Value)> Operations() =>
        Document
            .GetProperty("paths")
            .EnumerateObject()
            .SelectMany(path => path.Value.EnumerateObject().Select(o => (o.Name.ToUpperInvariant(), path.Name, o.Value)));

    private static JsonElement[] Parameters(JsonElement operation) =>
        operation.TryGetProperty("parameters", out var parameters) ? [.. parameters.EnumerateArray()] : [];

    private static string Path(string route) => $"/{route.Trim('/')}".Replace("{**", "{", StringComparison.Ordinal);

    private static bool IsError(JsonElement response) =>
        Resolve(response).TryGetProperty("content", out var content)
        && Everything(content).Any(e => e.ValueKind == JsonValueKind.Object && e.TryGetProperty("allOf", out _));

    private static IEnumerable<string> Codes(JsonElement response) =>
        Everything(response.GetProperty("content"))
            .Where(e => e.ValueKind == JsonValueKind.Object && e.TryGetProperty("allOf", out _))
            .SelectMany(e => Strings(e.GetProperty("allOf")[1].GetProperty("properties").GetProperty("code").GetProperty("enum")));

    private static IEnumerable<JsonElement> ExamplesOf(JsonElement form) =>
        form.TryGetProperty("example", out var example) ? [example]
        : form.TryGetProperty("examples", out var examples) ? examples.EnumerateObject().Select(e => Resolve(e.Value).GetProperty("value"))
        : [];

    /// <summary>Says where a value leaves its schema, in the ways this document uses: types, enums, required and unknown members, unions.</summary>
    private static string? Misfit(JsonElement value, JsonElement schema, string at)
    {
        schema = Resolve(schema);
        if (schema.TryGetProperty("allOf", out var all))
        {
            return Misfit(value, all[0], at)
                ?? (
                    Strings(all[1].GetProperty("properties").GetProperty("code").GetProperty("enum"))
                        .Contains(value.GetProperty("code").GetString()!)
                        ? null
                        : $"{at}/code"
                );
        }

        if (schema.TryGetProperty("oneOf", out var either) || schema.TryGetProperty("anyOf", out either))
        {
            var misfits = either.EnumerateArray().Select(one => Misfit(value, one, at)).ToArray();
            return misfits.Contains(null) ? null : misfits[0];
        }

        var types = schema.TryGetProperty("type", out var type)
            ? type.ValueKind == JsonValueKind.Array
                ? Strings(type).ToArray()
                : [type.GetString()!]
            : [];
        if (types.Length > 0 && !types.Any(t => Is(value, t)))
        {
            return $"{at}: {value.GetRawText()} is not {string.Join(" or ", types)}";
        }

        if (schema.TryGetProperty("enum", out var words) && !words.EnumerateArray().Any(word => JsonElement.DeepEquals(word, value)))
        {
            return $"{at}: {value.GetRawText()} is not one of {words.GetRawText()}";
        }

        if (value.ValueKind == JsonValueKind.Array && schema.TryGetProperty("items", out var items))
        {
            return value.EnumerateArray().Select((item, i) => Misfit(item, items, $"{at}/{i}")).FirstOrDefault(m => m is not null);
        }

        if (value.ValueKind != JsonValueKind.Object || !schema.TryGetProperty("properties", out var properties))
        {
            return null;
        }

        var missing = (schema.TryGetProperty("required", out var required) ? Strings(required) : []).FirstOrDefault(name =>
            !value.TryGetProperty(name, out _)
        );
        return missing is not null
            ? $"{at}/{missing} is missing"
            : value
                .EnumerateObject()
                .Select(member =>
                    properties.TryGetProperty(member.Name, out var of)
                        ? Misfit(member.Value, of, $"{at}/{member.Name}")
                        : $"{at}/{member.Name} is unknown"
                )
                .FirstOrDefault(m => m is not null);
    }

    private static bool Is(JsonElement value, string type) =>
        type switch
        {
            "null" => value.ValueKind == JsonValueKind.Null,
            "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
            "integer" => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out _),
            "number" => value.ValueKind == JsonValueKind.Number,
            "string" => value.ValueKind == JsonValueKind.String,
            "array" => value.ValueKind == JsonValueKind.Array,
            _ => value.ValueKind == JsonValueKind.Object,
        };

    private static IEnumerable<JsonElement> Everything(JsonElement element) =>
        element.ValueKind switch
        {
            JsonValueKind.Object => element.EnumerateObject().SelectMany(member => Everything(member.Value)).Prepend(element),
            JsonValueKind.Array => element.EnumerateArray().SelectMany(Everything).Prepend(element),
            _ => [element],
        };

    private static JsonElement Resolve(JsonElement element) =>
        element.TryGetProperty("$ref", out var reference)
            ? reference
                .GetString()!
                .Split('/')[1..]
                .Aggregate(Document, (at, name) => at.TryGetProperty(name, out var next) ? next : default)
            : element;

    private static IEnumerable<string> Strings(JsonElement array) => array.EnumerateArray().Select(item => item.GetString()!);

    private static string[] Lines(string text) => text.Split('\n');

    private static string CheckedIn([CallerFilePath] string here = "") =>
        System.IO.Path.GetFullPath(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(here)!, "../../../compose/openapi.json"));

    [GeneratedRegex(@"\{([^}]+)\}")]
    private static partial Regex PathParameter();

    [GeneratedRegex(@"^(GET|POST|PUT|PATCH|DELETE) \{\{(?:url|reads)\}\}([^\s?]*)", RegexOptions.Multiline)]
    private static partial Regex RequestLine();
}
