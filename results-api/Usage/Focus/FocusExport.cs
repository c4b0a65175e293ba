using System.Globalization;
using System.Numerics;
using System.Text.Encodings.Web;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Usage.Focus;

/// <summary>What an export holds, and who its operators are in it.</summary>
public sealed record FocusOptions
{
    /// <summary>The first and the last UTC day.</summary>
    public required DateOnly From { get; init; }
    public required DateOnly To { get; init; }

    /// <summary>JSON (an array of objects) instead of CSV.</summary>
    public bool Json { get; init; }

    /// <summary>Origin charges as they were before they were split, instead of allocated ones. Never put both into one table: they are the same money.</summary>
    public bool Origins { get; init; }

    /// <summary>Name of who runs the service, and of whose machines it runs on.</summary>
    public string Provider { get; init; } = "Pipeline";
    public string HostProvider { get; init; } = "Pipeline";
    public string BillingAccount { get; init; } = "pipeline";
}

/// <summary>
/// Writes what the fleet cost as FOCUS 1.3 rows (Cost and Usage), each origin charge split into allocated charges
/// (<see cref="OriginCharge"/>). Numbers are exact decimals made of integers, never floats.
/// </summary>
public static class FocusExport
{
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <returns>How many rows were written.</returns>
    public static async Task<long> WriteAsync(
        NpgsqlDataSource database,
        FocusOptions options,
        TextWriter output,
        CancellationToken cancellationToken = default
    )
    {
        var rows = 0L;
        await output.WriteAsync(options.Json ? "[" : Csv.Line(FocusColumns.All.Select(column => column.Name)));
        await foreach (var origin in OriginCharges.ReadAsync(database, options.From, options.To, cancellationToken))
        {
            foreach (var row in options.Origins ? [Row(origin, options)] : origin.Split().Select(charge => Row(origin, charge, options)))
            {
                var comma = rows++ > 0 ? "," : "";
                await output.WriteAsync(
                    options.Json
                        ? $"{comma}\n{Object(row)}"
                        : Csv.Line(FocusColumns.All.Select(column => row.GetValueOrDefault(column.Name)))
                );
            }
        }

        if (options.Json)
        {
            await output.WriteAsync("\n]\n");
        }

        await output.FlushAsync(cancellationToken);
        return rows;
    }

    /// <summary>An origin charge. An allocated charge has the same dimensions and unit prices, as the specification asks.</summary>
    private static Dictionary<string, string?> Row(OriginCharge origin, FocusOptions options)
    {
        var month = new DateOnly(origin.Day.Year, origin.Day.Month, 1);
        var price = Decimal(origin.PricePerHourPico, 12);
        var row = new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            ["BillingAccountId"] = options.BillingAccount,
            ["BillingAccountName"] = options.BillingAccount,
            ["BillingCurrency"] = "USD",
            ["BillingPeriodStart"] = Time(month),
            ["BillingPeriodEnd"] = Time(month.AddMonths(1)),
            ["ChargeCategory"] = "Usage",
            ["ChargeDescription"] = $"Device time of pool {origin.Pool} at {price} USD an hour",
            ["ChargeFrequency"] = "Usage-Based",
            ["ChargePeriodStart"] = Time(origin.Day),
            ["ChargePeriodEnd"] = Time(origin.Day.AddDays(1)),
            ["ConsumedUnit"] = "Hours",
            ["ContractedUnitPrice"] = price,
            ["HostProviderName"] = options.HostProvider,
            ["InvoiceIssuerName"] = options.Provider,
            ["ListUnitPrice"] = price,
            ["PricingCategory"] = "Standard",
            ["PricingUnit"] = "Hours",
            ["ProviderName"] = options.Provider,
            ["PublisherName"] = options.Provider,
            ["ResourceId"] = origin.Pool,
            ["ResourceName"] = origin.Pool,
            ["ResourceType"] = "Worker Pool",
            ["ServiceCategory"] = "AI and Machine Learning",
            ["ServiceName"] = "Pipeline Inference",
            ["ServiceProviderName"] = options.Provider,
            ["SkuId"] = $"device-time/{origin.Pool}",
            ["SkuMeter"] = "Device Time",
            ["SkuPriceId"] = $"device-time/{origin.Pool}/{price}",
            ["Tags"] = JsonSerializer.Serialize(new Dictionary<string, string> { ["pipeline/pool"] = origin.Pool }, Readable),
            ["x_OriginChargeId"] = origin.Id,
            ["x_OriginCost"] = Decimal(origin.Pico, 12),
            ["x_OriginQuantity"] = Decimal(origin.Hours, OriginCharge.HoursDigits),
        };
        SetMetrics(row, origin.Pico, origin.Hours);
        return row;
    }

    private static Dictionary<string, string?> Row(OriginCharge origin, AllocatedCharge charge, FocusOptions options)
    {
        var row = Row(origin, options);
        var part = charge.Part;
        SetMetrics(row, part.Pico, charge.Hours);
        row["AllocatedMethodId"] = OriginCharge.Method;
        row["AllocatedMethodDetails"] = Details(charge);
        row["x_Account"] = part.Account;
        row["x_Detail"] = part.Detail.Length > 0 ? part.Detail : null;
        row["x_SharedCostRule"] = part.Consumer is null ? OriginCharge.SharedCostRule : null;
        if (part.Consumer is not { } consumer)
        {
            // The part of an origin charge that is allocated to nothing has no resource.
            return row;
        }

        row["AllocatedResourceId"] = $"{consumer.Tenant}/{consumer.Class}/{consumer.Model}";
        row["AllocatedResourceName"] = $"{consumer.TenantName}, {consumer.Class}, {consumer.Model}";
        row["AllocatedTags"] = JsonSerializer.Serialize(
            new Dictionary<string, string>
            {
                ["pipeline/tenant"] = consumer.TenantName,
                ["pipeline/class"] = consumer.Class,
                ["pipeline/model"] = consumer.Model,
            },
            Readable
        );
        row["x_Class"] = consumer.Class;
        row["x_Model"] = consumer.Model;
        row["x_TenantId"] = consumer.Tenant.ToString();
        row["x_Tasks"] = consumer.Tasks.ToString(CultureInfo.InvariantCulture);
        row["x_Units"] = consumer.Units.ToString(CultureInfo.InvariantCulture);
        return row;
    }

    private static void SetMetrics(Dictionary<string, string?> row, long pico, BigInteger hours)
    {
        foreach (var cost in (string[])["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"])
        {
            row[cost] = Decimal(pico, 12);
        }

        row["ConsumedQuantity"] = row["PricingQuantity"] = Decimal(hours, OriginCharge.HoursDigits);
    }

    private static string Details(AllocatedCharge charge)
    {
        var (unit, quantity) = charge.Part.Consumer is { } consumer ? ("Units", consumer.Units) : ("Nanoseconds", charge.Part.Ns);
        return FormattableString.Invariant(
            $$"""{"Elements":[{"AllocatedRatio":{{Decimal(charge.Ratio, OriginCharge.RatioDigits)}},"UsageUnit":"{{unit}}","UsageQuantity":{{quantity}}}]}"""
        );
    }

    private static string Object(Dictionary<string, string?> row) =>
        $"{{{string.Join(",", FocusColumns.All.Select(column => $"\"{column.Name}\":{Value(column.Type, row.GetValueOrDefault(column.Name))}"))}}}";

    private static string Value(FocusType type, string? text) =>
        text is null ? "null"
        : type == FocusType.Text ? JsonSerializer.Serialize(text, Readable)
        : text;

    private static string Time(DateOnly day) => day.ToString("yyyy-MM-dd'T00:00:00Z'", CultureInfo.InvariantCulture);

    /// <summary>A whole number of units of 10⁻ᵈ as a decimal, without needless zeros.</summary>
    internal static string Decimal(BigInteger value, int digits)
    {
        var (whole, rest) = BigInteger.DivRem(BigInteger.Abs(value), BigInteger.Pow(10, digits));
        var fraction = rest.ToString(CultureInfo.InvariantCulture).PadLeft(digits, '0').TrimEnd('0');
        return $"{(value.Sign < 0 ? "-" : "")}{whole.ToString(CultureInfo.InvariantCulture)}{(fraction.Length > 0 ? "." : "")}{fraction}";
    }
}
