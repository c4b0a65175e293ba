using Pipeline.Contracts;
using Pipeline.ResultsApi.Usage.Focus;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Focus;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class FocusExportTests
{
    [Theory]
    [InlineData(21, false)]
    [InlineData(22, true)]
    public async Task An_export_of_pools_tenants_prices_and_waste_passes_the_validator(int seed, bool json)
    {
        await using var db = await SeededAsync(seed);

        var rows = FocusFile.Read(await ExportAsync(db, json));

        Assert.Empty(FocusValidator.Check(rows));
        Assert.Equal(["idle", "padding", "task", "warm_up", "waste"], rows.Select(row => row["x_Account"]).Distinct().Order());
        Assert.True(rows.Select(row => row["AllocatedResourceName"]?.Split(", ")[0]).Distinct().Count() > 1);
        Assert.True(rows.Select(row => row["ListUnitPrice"]).Distinct().Count() == 4);
        Assert.Equal(
            FocusExport.Decimal((long)await db.ScalarAsync<decimal>("SELECT sum(pico) FROM ledger"), 12),
            FocusExport.Decimal(
                rows.Aggregate(0L, (sum, row) => sum + (long)(decimal.Parse(row["BilledCost"]!, null) * Cost.PicoPerUsd)),
                12
            )
        );
    }

    [Theory]
    [InlineData("2026-01-31", "an account of that day is less than nothing")]
    [InlineData("2026-03-01", "a day has corrections alone, which sum to nothing")]
    public async Task Corrections_leave_the_books_closed_and_the_export_valid(string day, string because)
    {
        await using var db = await SeededAsync(25);
        var before = await db.ScalarAsync<decimal>("SELECT sum(pico) FROM ledger");

        // All idle time so far was in truth lost, as is found on one day.
        await db.ExecuteAsync(
            """
            INSERT INTO ledger (worker, account, from_ns, to_ns, ns, pico, detail, at)
            SELECT l.worker, c.account, l.from_ns, l.to_ns, l.ns * c.sign, l.pico * c.sign, c.detail, $1::date + interval '12 h'
            FROM ledger l, (VALUES ('idle', -1, NULL), ('waste', 1, 'lost')) AS c (account, sign, detail) WHERE l.account = 'idle'
            """,
            DateOnly.Parse(day, System.Globalization.CultureInfo.InvariantCulture)
        );
        await RolledUp.Async(db);

        Assert.True(await db.ScalarAsync<bool>("SELECT min(pico) < 0 FROM device_days"), because);
        Assert.Equal(0, await db.ScalarAsync<decimal>("SELECT sum(abs(ns)) + sum(abs(pico)) + sum(intervals) FROM ledger_difference()"));
        foreach (var json in new[] { true, false })
        {
            var rows = FocusFile.Read(await ExportAsync(db, json));
            Assert.Empty(FocusValidator.Check(rows));
            Assert.Equal(before, rows.Sum(row => decimal.Parse(row["BilledCost"]!, null)) * Cost.PicoPerUsd);
        }
    }

    [Fact]
    public async Task Origin_charges_are_what_the_allocated_ones_say_they_come_from()
    {
        await using var db = await SeededAsync(23);

        var allocated = FocusFile.Read(await ExportAsync(db, json: false));
        var origins = FocusFile.Read(await ExportAsync(db, json: false, origins: true));

        Assert.Equal(
            allocated.Select(row => (row["x_OriginChargeId"], row["x_OriginCost"], row["x_OriginQuantity"])).Distinct(),
            origins.Select(row => (row["x_OriginChargeId"], row["BilledCost"], row["ConsumedQuantity"]))
        );
        Assert.All(origins, row => Assert.Null(row["AllocatedMethodId"]));
    }

    [Fact]
    public async Task The_validator_finds_every_rule_that_is_broken_on_purpose()
    {
        await using var db = await SeededAsync(24);
        var text = await ExportAsync(db, json: false);

        Finds("column HostProviderName is missing", row => row.Remove("HostProviderName"));
        Finds("BillingAccountId is null", row => row["BillingAccountId"] = null);
        Finds("BilledCost is no decimal", row => row["BilledCost"] = "1e-9");
        Finds("ChargePeriodStart is no UTC time", row => row["ChargePeriodStart"] = "2026-01-01 00:00:00");
        Finds("ChargePeriodEnd is not after ChargePeriodStart", row => row["ChargePeriodEnd"] = row["ChargePeriodStart"]);
        Finds("ChargeCategory is \"usage\"", row => row["ChargeCategory"] = "usage");
        Finds("own is neither PascalCase nor x_", row => row["own"] = "1");
        Finds(
            "AllocatedMethodDetails is not as the schema says",
            row => row["AllocatedMethodDetails"] = """{"Elements":[{"AllocatedRatio":"1"}]}"""
        );
        Finds("AllocatedResourceId and x_TenantId disagree", row => row["x_TenantId"] = row["x_TenantId"] is null ? "x" : null);
        Finds(
            "AllocatedRatio does not sum to 1",
            row => row["AllocatedMethodDetails"] = row["AllocatedMethodDetails"]!.Replace("\":0.", "\":0.9", StringComparison.Ordinal)
        );
        Finds(
            "ListCost does not sum to x_OriginCost",
            row => row["ListCost"] += row["ListCost"]!.Contains('.', StringComparison.Ordinal) ? "1" : ".1"
        );
        Finds(
            "PricingQuantity does not sum to x_OriginQuantity",
            row => row["PricingQuantity"] += row["PricingQuantity"]!.Contains('.', StringComparison.Ordinal) ? "1" : ".1"
        );
        Finds("ResourceId differs between charges of one origin", row => row["ResourceId"] = "other");
        Finds("ListUnitPrice differs between charges of one origin", row => row["ListUnitPrice"] = "77");

        var twice = FocusFile.Read(text);
        twice.Add(twice[0]);
        Assert.Contains(FocusValidator.Check(twice), rule => rule.EndsWith("an allocation appears twice", StringComparison.Ordinal));
        var dear = FocusFile.Read(text);
        dear.ForEach(row => row["ContractedUnitPrice"] = "77");
        Assert.Contains(
            FocusValidator.Check(dear),
            rule => rule.EndsWith("ContractedCost is not ContractedUnitPrice × PricingQuantity", StringComparison.Ordinal)
        );

        void Finds(string rule, Action<Dictionary<string, string?>> damage)
        {
            var rows = FocusFile.Read(text);
            damage(rows[1]);
            Assert.Contains(FocusValidator.Check(rows), found => found.EndsWith(rule, StringComparison.Ordinal));
        }
    }

    private static async Task<TestDatabase> SeededAsync(int seed)
    {
        var db = await TestPostgres.CreateDatabaseAsync();
        await new BookedWork(db, seed).AddManyAsync(transactions: 60);
        await RolledUp.Async(db);
        return db;
    }

    private static async Task<string> ExportAsync(TestDatabase db, bool json, bool origins = false)
    {
        await using var text = new StringWriter();
        var options = new FocusOptions
        {
            From = new DateOnly(2026, 1, 1),
            To = new DateOnly(2026, 12, 31),
            Json = json,
            Origins = origins,
        };
        Assert.True(await FocusExport.WriteAsync(db.DataSource, options, text) > 0);
        return text.ToString();
    }
}
