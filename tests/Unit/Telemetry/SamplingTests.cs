using System.Diagnostics;
using Microsoft.Extensions.Configuration;
using OpenTelemetry.Trace;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>What is recorded, and whether it is sent.</summary>
public sealed class SamplingTests
{
    private static readonly ActivityContext Recorded = new(
        ActivityTraceId.CreateRandom(),
        ActivitySpanId.CreateRandom(),
        ActivityTraceFlags.Recorded
    );
    private static readonly ActivityContext NotRecorded = new(
        ActivityTraceId.CreateRandom(),
        ActivitySpanId.CreateRandom(),
        ActivityTraceFlags.None
    );

    [Theory]
    [InlineData(ActivityKind.Server, true)]
    [InlineData(ActivityKind.Internal, true)]
    [InlineData(ActivityKind.Client, false)]
    [InlineData(ActivityKind.Producer, false)]
    [InlineData(ActivityKind.Consumer, false)]
    public void A_trace_begins_with_a_request_or_with_work_that_says_so(ActivityKind kind, bool begins) =>
        Assert.Equal(begins, Samples(new DoorSampler(1, followsCaller: true), default, kind));

    [Fact]
    public void What_a_caller_decided_stands_whatever_the_ratio()
    {
        Assert.True(Samples(new DoorSampler(0, followsCaller: true), Recorded, ActivityKind.Server));
        Assert.False(Samples(new DoorSampler(1, followsCaller: true), NotRecorded, ActivityKind.Server));
    }

    [Fact]
    public void A_callers_decision_may_be_ignored_but_not_that_of_the_step_before()
    {
        Assert.False(Samples(new DoorSampler(0, followsCaller: false), Recorded, ActivityKind.Server));
        Assert.True(Samples(new DoorSampler(0, followsCaller: false), Recorded, ActivityKind.Consumer));
    }

    [Fact]
    public void About_as_many_traces_are_recorded_as_the_ratio_says()
    {
        var sampler = new DoorSampler(0.1, followsCaller: true);
        var recorded = Enumerable.Range(0, 10_000).Count(_ => Samples(sampler, default, ActivityKind.Server));
        Assert.InRange(recorded, 800, 1200);
    }

    [Theory]
    [InlineData(null, null, 0.01, true)]
    [InlineData(null, "0.25", 0.25, true)]
    [InlineData("always_on", null, 1, false)]
    [InlineData("parentbased_always_off", null, 0, true)]
    [InlineData("traceidratio", "0.5", 0.5, false)]
    public void The_standard_variables_choose_the_sampler(string? sampler, string? argument, double ratio, bool followsCaller) =>
        Assert.Equal(
            (ratio, followsCaller),
            OtelVariables.Sampling(Variables(("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)), 0.01)
        );

    [Theory]
    [InlineData("OTEL_TRACES_SAMPLER", "sometimes")]
    [InlineData("OTEL_TRACES_SAMPLER_ARG", "2")]
    public void A_sampler_that_is_none_is_told_with_what_was_expected(string variable, string value)
    {
        var mistake = Assert.Throws<OptionsException>(() => OtelVariables.Sampling(Variables((variable, value)), 0.01));
        Assert.StartsWith($"{variable} expects ", mistake.Message, StringComparison.Ordinal);
        Assert.EndsWith($"given \"{value}\"", mistake.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_is_sent_unless_an_endpoint_or_an_exporter_is_named()
    {
        Assert.False(OtelVariables.Sends(Variables(), "TRACES"));
        Assert.False(OtelVariables.Sends(Variables(("OTEL_EXPORTER_OTLP_ENDPOINT", "")), "TRACES"));
        Assert.True(OtelVariables.Sends(Variables(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")), "TRACES"));
        Assert.True(OtelVariables.Sends(Variables(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")), "TRACES"));
        Assert.False(OtelVariables.Sends(Variables(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")), "LOGS"));
        Assert.True(OtelVariables.Sends(Variables(("OTEL_LOGS_EXPORTER", "otlp")), "LOGS"));
    }

    [Theory]
    [InlineData("OTEL_METRICS_EXPORTER", "none")]
    [InlineData("OTEL_SDK_DISABLED", "true")]
    public void An_endpoint_sends_nothing_of_what_is_turned_off(string variable, string value) =>
        Assert.False(
            OtelVariables.Sends(Variables(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"), (variable, value)), "METRICS")
        );

    [Fact]
    public void Steps_of_what_is_not_traced_cost_nothing()
    {
        Step();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            Step();
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        static void Step()
        {
            using var step = Traces.Start("step");
            using var ofJob = Traces.Start("step", traceparent: null);
            Assert.Null(Traces.Current);
        }
    }

    [Fact]
    public void What_no_context_is_begins_nothing() => Assert.Null(Traces.Start("step", "not-a-traceparent"));

    private static bool Samples(DoorSampler sampler, ActivityContext parent, ActivityKind kind) =>
        sampler
            .ShouldSample(
                new SamplingParameters(
                    parent,
                    parent == default ? ActivityTraceId.CreateRandom() : parent.TraceId,
                    "name",
                    kind,
                    null,
                    null
                )
            )
            .Decision == SamplingDecision.RecordAndSample;

    private static IConfigurationRoot Variables(params (string Name, string? Value)[] variables) =>
        new ConfigurationBuilder().AddInMemoryCollection(variables.Select(v => KeyValuePair.Create(v.Name, v.Value))).Build();
}
