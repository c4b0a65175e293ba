using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>How long data is kept after its job has ended, of tenants that have no ages of their own; section <c>Retention</c>.</summary>
public sealed record RetentionOptions
{
    public const string Section = "Retention";

    /// <summary>What tasks were given.</summary>
    public TimeSpan Inputs { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Their results.</summary>
    public TimeSpan Outputs { get; init; } = TimeSpan.FromDays(90);

    /// <summary>Events, webhook deliveries, and the history of recurring work.</summary>
    public TimeSpan Logs { get; init; } = TimeSpan.FromDays(30);

    public TimeSpan Of(RemovalKind kind) =>
        kind switch
        {
            RemovalKind.Inputs => Inputs,
            RemovalKind.Outputs => Outputs,
            _ => Logs,
        };

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static RetentionOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<RetentionOptions>() ?? new RetentionOptions();
        var check = new OptionsCheck(Section);
        foreach (var kind in Enum.GetValues<RemovalKind>())
        {
            var age = options.Of(kind);
            check.Expect(
                age >= RetentionAges.AgeMin && age <= RetentionAges.AgeMax,
                kind.ToString(),
                $"{RetentionAges.AgeMin} to {RetentionAges.AgeMax}",
                age
            );
        }

        check.ThrowIfAny();
        return options;
    }
}
