using System.Net;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Who gets in, who may do what, and what no other site can make a browser do.</summary>
public sealed class AccessTests(DashboardFixture fixture) : IClassFixture<DashboardFixture>
{
    private const string Session = "pipeline-session";

    private DashboardHost Host => fixture.Host;

    [Fact]
    public async Task Every_page_is_closed_to_who_is_not_signed_in()
    {
        var browser = Host.Browser();
        foreach (var endpoint in Endpoints().Where(e => e.Metadata.GetMetadata<Access>() is not { Role: null }))
        {
            var path = PathOf(endpoint);
            var answer = IsPost(endpoint) ? await browser.PostAsync(path, null) : await browser.GetAsync(path);
            Assert.True(
                IsPost(endpoint)
                    ? answer.Status == HttpStatusCode.Unauthorized
                    : answer.Location?.StartsWith("/dashboard/sign-in?return=", StringComparison.Ordinal) == true,
                $"{path}: {answer.Status}"
            );
        }
    }

    [Fact]
    public async Task A_viewer_can_post_nothing_but_sign_out_and_colours()
    {
        var browser = await Host.SignInAsync(OperatorRole.Viewer);
        var page = await browser.GetAsync("/dashboard/jobs");
        var open = new List<string>();
        foreach (var path in Endpoints().Where(IsPost).Where(e => e.Metadata.GetMetadata<Access>() is not { Role: null }).Select(PathOf))
        {
            if (path.EndsWith("/theme", StringComparison.Ordinal) || path.EndsWith("/sign-out", StringComparison.Ordinal))
            {
                open.Add(path);
            }
            else
            {
                Assert.Equal(HttpStatusCode.Forbidden, (await browser.PostAsync(path, page)).Status);
            }
        }

        Assert.Equal(2, open.Count);
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.GetAsync("/dashboard/operators")).Status);
    }

    [Fact]
    public async Task A_form_that_was_not_made_here_for_this_session_is_refused()
    {
        var (one, other) = (await Host.SignInAsync(OperatorRole.Operator), await Host.SignInAsync(OperatorRole.Operator));
        var foreign = await other.GetAsync("/dashboard/jobs");

        Assert.Equal(HttpStatusCode.BadRequest, (await one.PostAsync("/dashboard/sign-out", null)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await one.PostAsync("/dashboard/sign-out", foreign)).Status);
        Assert.Equal(HttpStatusCode.OK, (await one.GetAsync("/dashboard/jobs")).Status);
    }

    [Fact]
    public async Task Every_answer_has_the_headers_that_keep_others_out()
    {
        var answer = await Host.Browser().GetAsync("/dashboard/sign-in");

        var policy = Header("Content-Security-Policy");
        Assert.Contains("default-src 'none'", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
        Assert.Equal("nosniff", Header("X-Content-Type-Options"));
        Assert.Equal("DENY", Header("X-Frame-Options"));
        Assert.Equal("same-origin", Header("Referrer-Policy"));
        Assert.Contains("no-store", Header("Cache-Control"), StringComparison.Ordinal);
        Assert.DoesNotContain("<script>", answer.Body, StringComparison.Ordinal);
        Assert.DoesNotContain(" style=", answer.Body, StringComparison.Ordinal);

        string Header(string name) => string.Join(", ", answer.Response.Headers.GetValues(name));
    }

    [Fact]
    public async Task Wrong_passwords_lock_the_account_and_nobody_is_told_which_names_there_are()
    {
        var known = await Host.SignInAsync(OperatorRole.Viewer);
        var browser = Host.Browser();

        var unknown = await browser.SignInAsync("nobody-here", "a wrong password");
        for (var i = 0; i < 3; i++)
        {
            var wrong = await browser.SignInAsync(known.Name, "a wrong password");
            Assert.Equal((HttpStatusCode.Unauthorized, HttpStatusCode.Unauthorized), (unknown.Status, wrong.Status));
            Assert.Contains("Name or password is wrong.", wrong.Body, StringComparison.Ordinal);
        }

        Assert.Equal(HttpStatusCode.TooManyRequests, (await browser.SignInAsync(known.Name, DashboardHost.Password)).Status);
        await Host.Database.ExecuteAsync("UPDATE operators SET locked_until = now() - interval '1 s' WHERE name = $1", known.Name);
        Assert.Equal(HttpStatusCode.Redirect, (await browser.SignInAsync(known.Name, DashboardHost.Password)).Status);
        Assert.Equal(
            4L,
            await Host.Database.ScalarAsync<long>(
                "SELECT count(*) FROM audit WHERE action = 'operator.sign_in' AND subject = $1 AND NOT done",
                known.Name
            )
        );
    }

    [Fact]
    public async Task Signing_in_goes_back_to_a_page_of_the_dashboard_and_nowhere_else()
    {
        var known = await Host.SignInAsync(OperatorRole.Viewer);
        foreach (
            var (asked, gone) in new[]
            {
                ("/dashboard/jobs?state=failed", "/dashboard/jobs?state=failed"),
                ("https://elsewhere.example/", "/dashboard/now"),
                ("//elsewhere.example/", "/dashboard/now"),
                ("/dashboard\\..\\elsewhere", "/dashboard/now"),
            }
        )
        {
            var browser = Host.Browser();
            var page = await browser.GetAsync("/dashboard/sign-in");
            var answer = await browser.PostAsync(
                "/dashboard/sign-in",
                page,
                ("name", known.Name),
                ("password", DashboardHost.Password),
                ("return", asked)
            );
            Assert.Equal(gone, answer.Location);
        }
    }

    [Fact]
    public async Task A_session_ends_with_sign_out_and_its_cookie_is_worth_nothing_then()
    {
        var browser = await Host.SignInAsync(OperatorRole.Viewer);
        var cookie = browser.Cookies.GetAllCookies().Single(c => c.Name == Session);
        Assert.True(cookie.HttpOnly);

        var signedOut = await browser.PostAsync("/dashboard/sign-out", await browser.GetAsync("/dashboard/jobs"));
        Assert.Equal("/dashboard/sign-in", signedOut.Location);
        var again = await Host.Browser().GetAsync("/dashboard/jobs", ("Cookie", $"{Session}={cookie.Value}"));
        Assert.Equal(HttpStatusCode.Redirect, again.Status);
    }

    [Fact]
    public async Task A_session_that_was_not_used_for_long_is_over()
    {
        var browser = await Host.SignInAsync(OperatorRole.Viewer);
        await Host.Database.ExecuteAsync(
            "UPDATE operator_sessions SET last_seen = now() - interval '3 h' FROM operators o WHERE o.id = operator AND o.name = $1",
            browser.Name
        );

        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/dashboard/jobs")).Status);
    }

    [Fact]
    public async Task An_admin_invites_changes_and_disables_and_all_of_it_is_audited()
    {
        var admin = await Host.SignInAsync(OperatorRole.Admin);
        var viewer = await Host.SignInAsync(OperatorRole.Viewer);
        var id = await Host.Database.ScalarAsync<Guid>("SELECT id FROM operators WHERE name = $1", viewer.Name);

        var invited = await admin.PostAsync("/dashboard/operators/invite", await Page(), ("role", "operator"), ("reason", "for Grace"));
        Assert.Contains("/dashboard/welcome?token=", invited.Body, StringComparison.Ordinal);
        await admin.PostAsync($"/dashboard/operators/{id}", await Page(), ("role", "operator"));
        Assert.Equal("operator", await Host.Database.ScalarAsync<string>("SELECT role FROM operators WHERE id = $1", id));
        await admin.PostAsync($"/dashboard/operators/{id}/link", await Page(), ("reason", "forgotten"));
        await admin.PostAsync(
            $"/dashboard/operators/{id}",
            await Page(),
            ("role", "operator"),
            ("disabled", "true"),
            ("reason", "has left")
        );

        Assert.Equal(HttpStatusCode.Redirect, (await viewer.GetAsync("/dashboard/jobs")).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Host.Browser().SignInAsync(viewer.Name, DashboardHost.Password)).Status);
        var audit = (await admin.GetAsync($"/dashboard/audit?subject={viewer.Name}")).Body;
        Assert.Contains("operator.change", audit, StringComparison.Ordinal);
        Assert.Contains(admin.Name, audit, StringComparison.Ordinal);
        Assert.Equal(
            """
            operator.create true -
            operator.change true -
            operator.link true forgotten
            operator.change true has left
            """,
            await Host.Database.ScalarAsync<string>(
                """
                SELECT string_agg(concat_ws(' ', action, done::text, coalesce(reason, '-')), E'\n' ORDER BY id)
                FROM audit WHERE subject = $1 AND action <> 'operator.sign_in'
                """,
                viewer.Name
            )
        );

        Task<DashboardAnswer> Page() => admin.GetAsync("/dashboard/operators");
    }

    [Fact]
    public async Task The_last_admin_stays_one()
    {
        await using var host = await DashboardHost.StartAsync();
        var admin = await host.SignInAsync(OperatorRole.Admin);
        var id = await host.Database.ScalarAsync<Guid>("SELECT id FROM operators");

        await admin.PostAsync($"/dashboard/operators/{id}", await admin.GetAsync("/dashboard/operators"), ("role", "viewer"));

        Assert.Equal("admin", await host.Database.ScalarAsync<string>("SELECT role FROM operators"));
        Assert.Contains("it would leave no admin", (await admin.GetAsync("/dashboard/audit")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_first_admins_link_works_once_and_then_no_other_does()
    {
        await using var host = await DashboardHost.StartAsync();
        var (database, options) = (host.Database.DataSource, new DashboardOptions());
        var link = await DashboardServices.FirstAdminLinkAsync(database, options, host.Address, CancellationToken.None);
        var ofAnotherInstance = await DashboardServices.FirstAdminLinkAsync(database, options, host.Address, CancellationToken.None);

        var answer = await ChooseAsync(link!);
        Assert.Equal("/dashboard/now", answer.Location);

        Assert.Equal("admin", await host.Database.ScalarAsync<string>("SELECT role FROM operators WHERE name = 'first'"));
        Assert.Equal(HttpStatusCode.Gone, (await host.Browser().GetAsync(link!.PathAndQuery)).Status);
        Assert.Equal(HttpStatusCode.Gone, (await host.Browser().GetAsync(ofAnotherInstance!.PathAndQuery)).Status);
        Assert.Null(await DashboardServices.FirstAdminLinkAsync(database, options, host.Address, CancellationToken.None));

        async Task<DashboardAnswer> ChooseAsync(Uri address)
        {
            var browser = host.Browser();
            return await browser.PostAsync(
                "/dashboard/welcome",
                await browser.GetAsync(address.PathAndQuery),
                ("token", address.Query["?token=".Length..]),
                ("name", "First"),
                ("password", DashboardHost.Password),
                ("again", DashboardHost.Password)
            );
        }
    }

    [Fact]
    public async Task The_company_sign_on_is_believed_with_its_secret_from_its_network_only()
    {
        await using var host = await DashboardHost.StartAsync(
            ("ProxyUserHeader", "X-Forwarded-User"),
            ("ProxySecret", "a secret of sixteen and more"),
            ("ProxyNetworks:0", "127.0.0.0/8")
        );
        await using var elsewhere = await DashboardHost.StartBesideAsync(
            host.Database,
            ("ProxyUserHeader", "X-Forwarded-User"),
            ("ProxySecret", "a secret of sixteen and more"),
            ("ProxyNetworks:0", "10.0.0.0/8")
        );
        var named = ("X-Forwarded-User", "Grace@example.org");
        var secret = ("Pipeline-Proxy-Secret", "a secret of sixteen and more");

        Assert.Equal(HttpStatusCode.Redirect, (await host.Browser().GetAsync("/dashboard/jobs", named)).Status);
        Assert.Equal(HttpStatusCode.Redirect, (await elsewhere.Browser().GetAsync("/dashboard/jobs", named, secret)).Status);
        Assert.Equal(0L, await host.Database.ScalarAsync<long>("SELECT count(*) FROM operators"));
        Assert.Equal(HttpStatusCode.OK, (await host.Browser().GetAsync("/dashboard/jobs", named, secret)).Status);
        Assert.Equal(
            "viewer",
            await host.Database.ScalarAsync<string>("SELECT role FROM operators WHERE name = 'grace@example.org' AND password IS NULL")
        );
        Assert.Equal(
            1L,
            await host.Database.ScalarAsync<long>(
                "SELECT count(*) FROM audit WHERE action = 'operator.create' AND operator_name = 'grace@example.org'"
            )
        );

        // Without the option the header says nothing.
        Assert.Equal(HttpStatusCode.Redirect, (await Host.Browser().GetAsync("/dashboard/jobs", named, secret)).Status);
    }

    [Fact]
    public async Task Two_instances_are_one_dashboard()
    {
        await using var other = await DashboardHost.StartBesideAsync(Host.Database);
        var browser = await Host.SignInAsync(OperatorRole.Viewer);
        var page = await browser.GetAsync("/dashboard/jobs");

        var there = other.Browser();
        there.Cookies.Add(other.Address, browser.Cookies.GetCookies(Host.Address));
        Assert.Equal(HttpStatusCode.OK, (await there.GetAsync("/dashboard/jobs")).Status);
        Assert.Equal("/dashboard/sign-in", (await there.PostAsync("/dashboard/sign-out", page)).Location);
        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/dashboard/jobs")).Status);
    }

    [Fact]
    public async Task Behind_the_gateway_any_instance_answers_and_one_may_go()
    {
        var other = await DashboardHost.StartBesideAsync(Host.Database);
        var stop = TestContext.Current.CancellationToken;
        await using var gateway = await GatewayServer.StartAsync([Host.Address], [other.Address, Host.Address], stop);
        using var browser = new DashboardBrowser(gateway.Address);
        browser.Cookies.Add(gateway.Address, (await Host.SignInAsync(OperatorRole.Viewer)).Cookies.GetCookies(Host.Address));

        // They take turns; a form of one is answered by the other.
        for (var i = 0; i < 3; i++)
        {
            var page = await browser.GetAsync("/dashboard/jobs");
            Assert.Equal(HttpStatusCode.OK, page.Status);
            Assert.Equal(HttpStatusCode.Redirect, (await browser.PostAsync("/dashboard/theme", page, ("theme", "dark"))).Status);
        }

        await other.DisposeAsync();
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/dashboard/now")).Status);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/dashboard/jobs")).Status);
    }

    [Fact]
    public async Task A_dashboard_that_only_shows_refuses_every_change()
    {
        await using var host = await DashboardHost.StartBesideAsync(Host.Database, ("ReadOnly", "true"), ("Ingest", "http://127.0.0.1:9"));
        var admin = await host.SignInAsync(OperatorRole.Admin);
        var page = await admin.GetAsync("/dashboard/operators");
        Assert.Contains("Read-only", page.Body, StringComparison.Ordinal);

        string[] jobs = ["bulk", "operators/invite", $"jobs/{Guid.NewGuid()}/cancel"];
        string[] others = [$"alerts/{Guid.NewGuid()}/resolve", "alerts/silences", "recurring/retention/pause", "models/use", "reports"];
        foreach (var path in jobs.Concat(others))
        {
            var answer = await admin.PostAsync($"/dashboard/{path}", page, ("reason", "try"));
            Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
            Assert.Contains("only shows", answer.Body, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Behind_https_cookies_are_bound_to_the_host_and_to_tls()
    {
        await using var host = await DashboardHost.StartBesideAsync(Host.Database, ("PublicUrl", "https://pipeline.example.org"));
        var answer = await host.Browser().GetAsync("/dashboard/sign-in");

        var cookie = Assert.Single(answer.Response.Headers.GetValues("Set-Cookie"));
        Assert.StartsWith("__Host-", cookie, StringComparison.Ordinal);
        Assert.Contains("secure", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.True(answer.Response.Headers.Contains("Strict-Transport-Security"));
    }

    [Fact]
    public async Task A_dashboard_that_is_switched_off_is_not_there()
    {
        await using var host = await DashboardHost.StartBesideAsync(Host.Database, ("Enabled", "false"));

        Assert.Equal(HttpStatusCode.NotFound, (await host.Browser().GetAsync("/dashboard/sign-in")).Status);
        Assert.Null(
            await DashboardServices.FirstAdminLinkAsync(
                host.Database.DataSource,
                new DashboardOptions { Enabled = false },
                host.Address,
                CancellationToken.None
            )
        );
    }

    private IEnumerable<RouteEndpoint> Endpoints() =>
        Host
            .Services.GetRequiredService<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .Where(e => e.RoutePattern.RawText!.StartsWith("/dashboard", StringComparison.Ordinal))
            .Where(e => !e.RoutePattern.RawText!.Contains("/assets/", StringComparison.Ordinal));

    private static bool IsPost(RouteEndpoint endpoint) => endpoint.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Contains("POST");

    private static string PathOf(RouteEndpoint endpoint) =>
        endpoint
            .RoutePattern.RawText!.Replace("{id:guid}", Guid.Empty.ToString(), StringComparison.Ordinal)
            .Replace("{action}", "cancel", StringComparison.Ordinal)
            .Replace("{**rest}", "no-such-page", StringComparison.Ordinal);
}
