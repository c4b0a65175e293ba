namespace Pipeline.ResultsApi.Usage.Focus;

/// <summary>How a column's values are written in JSON; in CSV all are text, and null is an empty field.</summary>
internal enum FocusType
{
    Text,
    Number,
    Object,
}

/// <summary>
/// The columns of the export in their order: those of FOCUS 1.3 (Cost and Usage) by name, then our own. All mandatory ones are there, the
/// two that 1.3 deprecates included, and of the others those we have something to say in.
/// See https://focus.finops.org/focus-specification/v1-3/.
/// </summary>
internal static class FocusColumns
{
    public static readonly IReadOnlyList<(string Name, FocusType Type)> All =
    [
        ("AllocatedMethodDetails", FocusType.Object),
        ("AllocatedMethodId", FocusType.Text),
        ("AllocatedResourceId", FocusType.Text),
        ("AllocatedResourceName", FocusType.Text),
        ("AllocatedTags", FocusType.Object),
        ("BilledCost", FocusType.Number),
        ("BillingAccountId", FocusType.Text),
        ("BillingAccountName", FocusType.Text),
        ("BillingCurrency", FocusType.Text),
        ("BillingPeriodEnd", FocusType.Text),
        ("BillingPeriodStart", FocusType.Text),
        ("ChargeCategory", FocusType.Text),
        ("ChargeClass", FocusType.Text),
        ("ChargeDescription", FocusType.Text),
        ("ChargeFrequency", FocusType.Text),
        ("ChargePeriodEnd", FocusType.Text),
        ("ChargePeriodStart", FocusType.Text),
        ("ConsumedQuantity", FocusType.Number),
        ("ConsumedUnit", FocusType.Text),
        ("ContractedCost", FocusType.Number),
        ("ContractedUnitPrice", FocusType.Number),
        ("EffectiveCost", FocusType.Number),
        ("HostProviderName", FocusType.Text),
        ("InvoiceIssuerName", FocusType.Text),
        ("ListCost", FocusType.Number),
        ("ListUnitPrice", FocusType.Number),
        ("PricingCategory", FocusType.Text),
        ("PricingQuantity", FocusType.Number),
        ("PricingUnit", FocusType.Text),
        ("ProviderName", FocusType.Text),
        ("PublisherName", FocusType.Text),
        ("ResourceId", FocusType.Text),
        ("ResourceName", FocusType.Text),
        ("ResourceType", FocusType.Text),
        ("ServiceCategory", FocusType.Text),
        ("ServiceName", FocusType.Text),
        ("ServiceProviderName", FocusType.Text),
        ("SkuId", FocusType.Text),
        ("SkuMeter", FocusType.Text),
        ("SkuPriceId", FocusType.Text),
        ("Tags", FocusType.Object),
        ("x_Account", FocusType.Text),
        ("x_Class", FocusType.Text),
        ("x_Detail", FocusType.Text),
        ("x_Model", FocusType.Text),
        ("x_OriginChargeId", FocusType.Text),
        ("x_OriginCost", FocusType.Number),
        ("x_OriginQuantity", FocusType.Number),
        ("x_SharedCostRule", FocusType.Text),
        ("x_Tasks", FocusType.Number),
        ("x_TenantId", FocusType.Text),
        ("x_Units", FocusType.Number),
    ];
}
