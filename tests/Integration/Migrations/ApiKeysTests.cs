using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class ApiKeysTests
{
    [Fact]
    public async Task An_issued_key_opens_its_tenants_door_and_is_stored_as_a_hash_only()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "someone");

        var key = await ApiKeyIssuer.IssueAsync(db.DataSource, tenant, "laptop");
        var other = await ApiKeyIssuer.IssueAsync(db.DataSource, tenant, "server");

        Assert.Matches("^pk_[A-Za-z0-9_-]{43}$", key);
        Assert.NotEqual(key, other);
        Assert.Equal(
            new Caller(await db.ScalarAsync<Guid>("SELECT id FROM api_keys WHERE name = 'laptop'"), tenant, false)
            {
                KeyName = $"laptop ({key[..12]}…)",
            },
            await new ApiKeys(db.DataSource, TimeProvider.System).FindAsync(key, CancellationToken.None)
        );
        Assert.Equal(key[..12], await db.ScalarAsync<string>("SELECT prefix FROM api_keys WHERE name = 'laptop'"));
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT count(*) FROM api_keys k WHERE k::text LIKE '%' || $1 || '%'", key[3..]));
    }

    [Fact]
    public async Task A_tenant_is_made_once_however_many_ask()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();

        var ids = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => Tenants.EnsureAsync(db.DataSource, "someone"))));

        Assert.Single(ids.Distinct());
    }
}
