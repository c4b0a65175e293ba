using System.Globalization;
using Microsoft.Extensions.Configuration;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// What of OpenTelemetry's standard variables is decided here: whether a kind of signal is sent at all. Nothing is, unless an endpoint is
/// named (<c>OTEL_EXPORTER_OTLP_ENDPOINT</c>, or that of one kind) or asked for (<c>OTEL_TRACES_EXPORTER=otlp</c>, …). All else about
/// sending (headers, protocol, intervals, resource) the SDK reads by itself.
/// </summary>
public static class OtelVariables
{
    private const string SamplerName = "OTEL_TRACES_SAMPLER";
    private const string SamplerArgument = "OTEL_TRACES_SAMPLER_ARG";

    /// <summary>Whether a kind of signal is sent.</summary>
    /// <param name="kind"><c>TRACES</c>, <c>METRICS</c> or <c>LOGS</c>.</param>
    /// <exception cref="OptionsException">The exporter is none that is known here.</exception>
    public static bool Sends(IConfiguration variables, string kind)
    {
        if (bool.TryParse(variables["OTEL_SDK_DISABLED"], out var disabled) && disabled)
        {
            return false;
        }

        return variables[$"OTEL_{kind}_EXPORTER"] switch
        {
            "otlp" => true,
            "none" => false,
            null or "" => !string.IsNullOrEmpty(variables["OTEL_EXPORTER_OTLP_ENDPOINT"])
                || !string.IsNullOrEmpty(variables[$"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT"]),
            var other => throw new OptionsException($"OTEL_{kind}_EXPORTER expects otlp or none, given \"{other}\""),
        };
    }

    /// <summary>The sampler as the variables name it, else as <paramref name="ratio"/> says.</summary>
    /// <returns>The part of the traces begun here that is recorded, and whether a caller's decision goes before.</returns>
    /// <exception cref="OptionsException">A sampler or its argument is none that is known.</exception>
    public static (double Ratio, bool FollowsCaller) Sampling(IConfiguration variables, double ratio)
    {
        var argument = variables[SamplerArgument];
        if (!string.IsNullOrEmpty(argument))
        {
            ratio =
                double.TryParse(argument, NumberStyles.Float, CultureInfo.InvariantCulture, out var given) && given is >= 0 and <= 1
                    ? given
                    : throw new OptionsException($"{SamplerArgument} expects 0 to 1, given \"{argument}\"");
        }

        return variables[SamplerName] switch
        {
            null or "" or "parentbased_traceidratio" => (ratio, true),
            "traceidratio" => (ratio, false),
            "always_on" => (1, false),
            "always_off" => (0, false),
            "parentbased_always_on" => (1, true),
            "parentbased_always_off" => (0, true),
            var other => throw new OptionsException(
                $"{SamplerName} expects always_on, always_off, traceidratio, or one of them after parentbased_, given \"{other}\""
            ),
        };
    }
}
