using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest;
using Pipeline.OpenAi;
using Pipeline.ResultsApi;
using Pipeline.Standalone.OpenApi;
using Xunit;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>The gateway's routes against the endpoints of the code, and its own answers against those of the services.</summary>
public sealed partial class GatewayTests
{
    private static readonly NginxConf Nginx = NginxConf.Read();

    [Fact]
    public async Task Every_request_of_the_API_goes_to_a_service_that_has_it()
    {
        await using var whole = OpenApiMaker.Build();
        await using var ingest = Service(services => services.AddIngest(Settings), app => app.MapIngest().MapOpenAiReads());
        await using var results = Service(services => services.AddResultsApi(Settings), app => app.MapResultsApi());
        var served = new Dictionary<string, HashSet<string>> { ["ingest"] = Requests(ingest), ["results-api"] = Requests(results) };

        var published = Requests(whole).Where(request => !IsOfTheProcess().IsMatch(request)).ToArray();

        Assert.True(published.Length > 50);
        Assert.All(
            published,
            request =>
            {
                var (method, pattern) = (request.Split(' ')[0], request.Split(' ')[1]);
                var upstream = Nginx.Upstream(method, RouteParameter().Replace(pattern, "x"));
                Assert.True(upstream is not null, $"The gateway refuses {request}.");
                var service = Nginx.Address(upstream).Split(':')[0];
                Assert.True(served[service].Contains(request), $"The gateway sends {request} to {service}, which does not have it.");
            }
        );
    }

    [Theory]
    [InlineData("GET", "/v1/infer/x", "ingest")]
    [InlineData("GET", "/v1/jobs", "results-api")]
    [InlineData("POST", "/v1/jobs", "ingest")]
    [InlineData("POST", "/v1/webhook_endpoints", "results-api")]
    [InlineData("GET", "/v2", "ingest")]
    [InlineData("GET", "/openapi.json", "results-api")]
    [InlineData("GET", "/dashboard", "results-api")]
    [InlineData("POST", "/dashboard/jobs/x", "results-api")]
    public void A_request_goes_by_its_method_and_path(string method, string path, string upstream) =>
        Assert.Equal(upstream, Nginx.Upstream(method, path));

    [Theory]
    [InlineData("/metrics")]
    [InlineData("/metrics/")]
    [InlineData("/healthz/ready/ingest")]
    [InlineData("/v2x")]
    [InlineData("/v1")]
    [InlineData("/dashboards")]
    [InlineData("/")]
    public void What_is_not_the_API_goes_nowhere(string path) => Assert.Null(Nginx.Upstream("GET", path));

    [Fact]
    public void Its_problem_bodies_are_those_of_the_services()
    {
        Assert.Equal(Names(Problems.From(FailureKind.UnknownRoute, "detail")), Names(Body("@unknown")));
        AssertIs(FailureKind.UnknownRoute, Body("@unknown"));
        AssertIs(FailureKind.Unavailable, Body("@unavailable"));

        var v2 = Body("@unavailable-v2");
        Assert.Equal(Names(OpenInferenceError.Of(Problems.From(FailureKind.Unavailable, "detail"))), Names(v2));
        Assert.Equal(FailureKind.Unavailable.Info().Code, v2.GetProperty("code").GetString());
    }

    [Fact]
    public void It_waits_longer_than_the_services_do()
    {
        var patience = TimeSpan.FromSeconds(int.Parse(Nginx.Setting("proxy_read_timeout").TrimEnd('s'), CultureInfo.InvariantCulture));
        Assert.True(patience > new IngestOptions().OpenAiWaitMax);
        Assert.True(patience > new IngestOptions().ExpressWaitMax);
        Assert.True(patience > new ResultsApiOptions().EventsHeartbeat);
    }

    [Fact]
    public void It_gathers_nothing_and_packs_nothing()
    {
        Assert.All(
            (string[])["proxy_buffering", "proxy_request_buffering", "gzip"],
            setting => Assert.Equal("off", Nginx.Setting(setting))
        );
        Assert.Equal("0", Nginx.Setting("client_max_body_size"));
    }

    private static IConfiguration Settings { get; } = new ConfigurationBuilder().Build();

    /// <summary>A service's endpoints, without its servers.</summary>
    private static WebApplication Service(Action<IServiceCollection> add, Action<WebApplication> map)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddPipelineDefaults(new PipelineOptions { Database = "Host=unused", Broker = PipelineOptions.InMemoryBroker });
        add(builder.Services);
        var app = builder.Build();
        app.MapApiDocument();
        map(app);
        app.UseRouting();
        app.UseEndpoints(static _ => { });
        return app;
    }

    /// <summary><c>GET /v1/jobs/{id}</c> and all others.</summary>
    private static HashSet<string> Requests(WebApplication app) =>
        [
            .. OpenApiMaker
                .Endpoints(app.Services)
                .SelectMany(endpoint =>
                    (endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"]).Select(method =>
                        $"{method} {endpoint.RoutePattern.RawText}"
                    )
                ),
        ];

    private static JsonElement Body(string location) => JsonElement.Parse(Nginx.Body(location));

    private static void AssertIs(FailureKind kind, JsonElement body)
    {
        var info = kind.Info();
        var problem = Problems.From(kind, body.GetProperty("detail").GetString()!);
        Assert.Equal(problem.Type, body.GetProperty("type").GetString());
        Assert.Equal(problem.Title, body.GetProperty("title").GetString());
        Assert.Equal((info.HttpStatus, info.Code), (body.GetProperty("status").GetInt32(), body.GetProperty("code").GetString()));
        Assert.Equal(info.Retry, body.GetProperty("retry").GetBoolean());
        Assert.Equal(
            JsonSerializer.SerializeToElement(problem.Error, ApiJson.Options).GetRawText(),
            body.GetProperty("error").GetRawText()
        );
    }

    private static string[] Names(object body) =>
        [.. JsonSerializer.SerializeToElement(body, ApiJson.Options).EnumerateObject().Select(property => property.Name)];

    /// <summary>Of a process, not of the API: the gateway has health endpoints of its own, and shows no metrics.</summary>
    [GeneratedRegex("^GET /(healthz/|metrics$)")]
    private static partial Regex IsOfTheProcess();

    [GeneratedRegex(@"\{[^}]*\}")]
    private static partial Regex RouteParameter();
}
