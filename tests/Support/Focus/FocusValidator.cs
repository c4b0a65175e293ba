using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace Pipeline.Tests.Support.Focus;

/// <summary>
/// Checks an export of allocated charges from outside, by what FOCUS 1.3 says of Cost and Usage and of split cost allocation, and by the
/// two columns in which we carry an origin charge's totals. It shares no code with the export, and sums with whole numbers.
/// </summary>
internal static class FocusValidator
{
    private const int Digits = 24;

    private static readonly string[] NotNull =
    [
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "HostProviderName",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "ServiceProviderName",
        // Of usage, and of allocated charges.
        "ConsumedQuantity",
        "ConsumedUnit",
        "SkuId",
        "SkuPriceId",
        "AllocatedMethodId",
        "AllocatedMethodDetails",
        "x_Account",
        "x_OriginChargeId",
        "x_OriginCost",
        "x_OriginQuantity",
    ];

    /// <summary>Must be there, may be null.</summary>
    private static readonly string[] Present = ["ChargeClass", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags"];

    private static readonly string[] Costs = ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"];
    private static readonly string[] Quantities = ["ConsumedQuantity", "PricingQuantity"];
    private static readonly string[] Prices = ["ListUnitPrice", "ContractedUnitPrice"];
    private static readonly string[] Times = ["BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"];

    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["BillingCurrency"] = ["USD"],
        ["ChargeCategory"] = ["Usage", "Purchase", "Tax", "Credit", "Adjustment"],
        ["ChargeClass"] = ["Correction"],
        ["ChargeFrequency"] = ["One-Time", "Recurring", "Usage-Based"],
        ["PricingCategory"] = ["Standard", "Dynamic", "Committed", "Other"],
        ["ServiceCategory"] = ["AI and Machine Learning", "Analytics", "Compute", "Other"],
        ["x_Account"] = ["task", "padding", "idle", "warm_up", "waste"],
    };

    /// <summary>Columns whose values differ between the allocated charges of one origin charge; all others are the origin's own.</summary>
    private static readonly HashSet<string> OfTheAllocation =
    [
        .. Costs,
        .. Quantities,
        "AllocatedMethodDetails",
        "AllocatedResourceId",
        "AllocatedResourceName",
        "AllocatedTags",
        "x_Account",
        "x_Class",
        "x_Detail",
        "x_Model",
        "x_SharedCostRule",
        "x_Tasks",
        "x_TenantId",
        "x_Units",
    ];

    /// <summary>Every rule that is broken, with the row (from 1) or the origin charge it is broken in.</summary>
    public static List<string> Check(List<Dictionary<string, string?>> rows)
    {
        var broken = new List<string>();
        for (var i = 0; i < rows.Count; i++)
        {
            broken.AddRange(OfRow(rows[i]).Select(rule => $"row {i + 1}: {rule}"));
        }

        if (broken.Count == 0)
        {
            foreach (var origin in rows.GroupBy(row => row["x_OriginChargeId"]))
            {
                broken.AddRange(OfOrigin([.. origin]).Select(rule => $"origin {origin.Key}: {rule}"));
            }
        }

        return broken;
    }

    private static IEnumerable<string> OfRow(Dictionary<string, string?> row)
    {
        foreach (var name in NotNull.Concat(Present).Where(name => !row.ContainsKey(name)))
        {
            yield return $"column {name} is missing";
        }

        foreach (var name in NotNull.Where(name => row.TryGetValue(name, out var value) && value is null))
        {
            yield return $"{name} is null";
        }

        foreach (
            var name in Costs.Concat(Quantities).Concat(Prices).Where(name => row.GetValueOrDefault(name) is { } v && Exact(v) is null)
        )
        {
            yield return $"{name} is no decimal";
        }

        foreach (var name in Times.Where(name => row.GetValueOrDefault(name) is { } value && Time(value) is null))
        {
            yield return $"{name} is no UTC time";
        }

        if (row.GetValueOrDefault("ChargePeriodStart") is { } start && Time(start) >= Time(row.GetValueOrDefault("ChargePeriodEnd") ?? ""))
        {
            yield return "ChargePeriodEnd is not after ChargePeriodStart";
        }

        foreach (var (name, values) in Allowed)
        {
            if (row.GetValueOrDefault(name) is { } value && !values.Contains(value))
            {
                yield return $"{name} is \"{value}\"";
            }
        }

        foreach (var name in row.Keys.Where(name => !name.StartsWith("x_", StringComparison.Ordinal) && !char.IsUpper(name[0])))
        {
            yield return $"{name} is neither PascalCase nor x_";
        }

        if (row.GetValueOrDefault("AllocatedMethodDetails") is { } details && Ratio(details) is null)
        {
            yield return "AllocatedMethodDetails is not as the schema says";
        }

        // What is allocated to nothing has no resource; what tasks consumed has one.
        if (row.GetValueOrDefault("x_TenantId") is null != row.GetValueOrDefault("AllocatedResourceId") is null)
        {
            yield return "AllocatedResourceId and x_TenantId disagree";
        }

        foreach (var name in (string[])["AllocatedResourceName", "AllocatedTags"])
        {
            if (row.GetValueOrDefault("AllocatedResourceId") is null != row.GetValueOrDefault(name) is null)
            {
                yield return $"AllocatedResourceId and {name} disagree";
            }
        }
    }

    private static IEnumerable<string> OfOrigin(List<Dictionary<string, string?>> rows)
    {
        var ratios = rows.Aggregate(BigInteger.Zero, (sum, row) => sum + Ratio(row["AllocatedMethodDetails"]!)!.Value);
        if (ratios != BigInteger.Pow(10, Digits))
        {
            yield return "AllocatedRatio does not sum to 1";
        }

        foreach (var (names, total) in new[] { (Costs, "x_OriginCost"), (Quantities, "x_OriginQuantity") })
        {
            foreach (var name in names.Where(name => Sum(rows, name) != Exact(rows[0][total]!)))
            {
                yield return $"{name} does not sum to {total}";
            }
        }

        foreach (var name in rows[0].Keys.Where(name => !OfTheAllocation.Contains(name)))
        {
            if (rows.Exists(row => row[name] != rows[0][name]))
            {
                yield return $"{name} differs between charges of one origin";
            }
        }

        // A cost is price × quantity; every interval of a device is rounded to the pico-dollar, and a quantity is rounded, too.
        foreach (var (price, cost) in Prices.Zip(["ListCost", "ContractedCost"]))
        {
            var product = Exact(rows[0][price]!)!.Value * Exact(rows[0]["x_OriginQuantity"]!)!.Value / BigInteger.Pow(10, Digits);
            if (BigInteger.Abs(product - Sum(rows, cost)) > BigInteger.Pow(10, Digits - 9))
            {
                yield return $"{cost} is not {price} × PricingQuantity";
            }
        }

        if (rows.GroupBy(row => (row["AllocatedResourceId"], row["x_Account"], row["x_Detail"])).Any(group => group.Count() > 1))
        {
            yield return "an allocation appears twice";
        }
    }

    private static BigInteger Sum(List<Dictionary<string, string?>> rows, string name) =>
        rows.Aggregate(BigInteger.Zero, (sum, row) => sum + Exact(row[name]!)!.Value);

    /// <summary>The ratios of an allocation's elements; null when they are not as the schema says.</summary>
    private static BigInteger? Ratio(string details)
    {
        try
        {
            using var document = JsonDocument.Parse(details);
            var sum = BigInteger.Zero;
            foreach (var element in document.RootElement.GetProperty("Elements").EnumerateArray())
            {
                sum += Exact(element.GetProperty("AllocatedRatio").GetRawText()) ?? throw new FormatException();
                _ = Exact(element.GetProperty("UsageQuantity").GetRawText()) ?? throw new FormatException();
                _ = element.GetProperty("UsageUnit").GetString() ?? throw new FormatException();
            }

            return sum;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or FormatException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>A decimal in units of 10⁻²⁴; null for anything else.</summary>
    private static BigInteger? Exact(string text)
    {
        var parts = text.TrimStart('-').Split('.');
        if (
            parts.Length > 2
            || parts.Any(part => part.Length == 0 || !part.All(char.IsAsciiDigit))
            || (parts.Length > 1 && parts[1].Length > Digits)
        )
        {
            return null;
        }

        var value = BigInteger.Parse(parts[0] + (parts.Length > 1 ? parts[1] : "").PadRight(Digits, '0'), CultureInfo.InvariantCulture);
        return text.StartsWith('-') ? -value : value;
    }

    private static DateTime? Time(string text) =>
        DateTime.TryParseExact(text, "yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.None, out var time)
            ? time
            : null;
}
