using System.Globalization;
using System.Text.RegularExpressions;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>
/// The rules of the Compose Specification for the keys that are used here: which there are, and of what form. A key that is used for the
/// first time is added with its rule.
/// </summary>
internal static partial class ComposeSchema
{
    private delegate IEnumerable<string> Rule(Node node);

    private static readonly Rule Text = node => Expect(node, node.Value is string { Length: > 0 }, "text");
    private static readonly Rule Scalar = node => Expect(node, node.Map is null && node.Value is not IEnumerable<object?>, "one value");
    private static readonly Rule Flag = node => Expect(node, node.Value is bool, "true or false");
    private static readonly Rule Duration = node => Expect(node, DurationForm().IsMatch(node.Text), "a duration (30s, 1m30s)");
    private static readonly Rule Size = node => Expect(node, SizeForm().IsMatch(node.Text), "a size (512m, 2g)");
    private static readonly Rule Cpus = node =>
        Expect(node, double.TryParse(node.Text, CultureInfo.InvariantCulture, out var cpus) && cpus > 0, "a number of CPUs");
    private static readonly Rule Whole = node =>
        Expect(
            node,
            node.Value is not string && long.TryParse(node.Text, CultureInfo.InvariantCulture, out var n) && n >= 0,
            "a whole number"
        );

    private static readonly Rule Build = Map(
        new()
        {
            ["context"] = Text,
            ["dockerfile"] = Text,
            ["target"] = Text,
            ["args"] = MapOf(Text),
        }
    );

    private static readonly Rule Healthcheck = Map(
        new()
        {
            ["test"] = ListOf(Text),
            ["interval"] = Duration,
            ["timeout"] = Duration,
            ["retries"] = Whole,
            ["start_period"] = Duration,
            ["start_interval"] = Duration,
        }
    );

    private static readonly Rule Deploy = Map(
        new()
        {
            ["replicas"] = Whole,
            ["resources"] = Map(
                new()
                {
                    ["limits"] = Map(new() { ["cpus"] = Cpus, ["memory"] = Size }),
                    ["reservations"] = Map(
                        new()
                        {
                            ["devices"] = ListOf(
                                Map(
                                    new()
                                    {
                                        ["driver"] = Text,
                                        ["device_ids"] = ListOf(Scalar),
                                        ["capabilities"] = ListOf(Text),
                                    }
                                )
                            ),
                        }
                    ),
                }
            ),
        }
    );

    private static readonly Rule Service = Map(
        new()
        {
            ["image"] = Text,
            ["build"] = Build,
            ["profiles"] = ListOf(Text),
            ["restart"] = Choice("no", "always", "on-failure", "unless-stopped"),
            ["user"] = Text,
            ["hostname"] = Text,
            ["entrypoint"] = ListOf(Text),
            ["command"] = ListOf(Text),
            ["environment"] = MapOf(Scalar),
            ["volumes"] = ListOf(Form(VolumeForm(), "SOURCE:/TARGET[:ro]")),
            ["tmpfs"] = ListOf(Form(TmpfsForm(), "/TARGET[:options]")),
            ["ports"] = ListOf(Form(PortForm(), "ADDRESS:PORT:PORT")),
            ["networks"] = ListOf(Text),
            ["depends_on"] = MapOf(
                Map(new() { ["condition"] = Choice("service_started", "service_healthy", "service_completed_successfully") })
            ),
            ["healthcheck"] = Healthcheck,
            ["deploy"] = Deploy,
            ["read_only"] = Flag,
            ["init"] = Flag,
            ["cap_drop"] = ListOf(Text),
            ["security_opt"] = ListOf(Text),
            ["stop_signal"] = Text,
            ["stop_grace_period"] = Duration,
            ["shm_size"] = Size,
            ["ulimits"] = MapOf(Map(new() { ["soft"] = Whole, ["hard"] = Whole })),
            ["logging"] = Map(new() { ["driver"] = Text, ["options"] = MapOf(Scalar) }),
        }
    );

    private static readonly Rule Document = Map(
        new()
        {
            ["name"] = Text,
            ["services"] = MapOf(Service),
            ["networks"] = MapOf(Map(new() { ["internal"] = Flag })),
            ["volumes"] = MapOf(Map([])),
        }
    );

    /// <summary>What of a file the specification does not allow: place, what is expected, what is given.</summary>
    public static IReadOnlyList<string> Mistakes(Node document) => [.. Document(document)];

    private static Rule Map(Dictionary<string, Rule> keys) =>
        node =>
            Expect(node, node.Map is not null, "a map")
                .Concat(
                    node.Children.Where(child => !child.Name.StartsWith("x-", StringComparison.Ordinal))
                        .SelectMany(child =>
                            keys.TryGetValue(child.Name, out var rule) ? rule(child) : [$"{child.Path}: no key that the rules here know"]
                        )
                );

    private static Rule MapOf(Rule rule) =>
        node => Expect(node, node.Map is not null, "a map").Concat(node.Children.SelectMany(c => rule(c)));

    private static Rule ListOf(Rule rule) =>
        node => Expect(node, node.Map is null && node.List is not null, "a list").Concat(node.Children.SelectMany(c => rule(c)));

    private static Rule Choice(params string[] allowed) =>
        node => Expect(node, node.Value is string text && allowed.Contains(text), string.Join(", ", allowed));

    private static Rule Form(Regex form, string expected) =>
        node => Expect(node, node.Value is string text && form.IsMatch(text), expected);

    private static IEnumerable<string> Expect(Node node, bool holds, string expected) =>
        holds ? [] : [$"{node.Path}: expected {expected}, given \"{node.Text}\" ({node.Value?.GetType().Name ?? "nothing"})"];

    [GeneratedRegex("^([0-9]+(ms|s|m|h))+$")]
    private static partial Regex DurationForm();

    [GeneratedRegex("^[0-9]+(b|k|m|g|kb|mb|gb)$")]
    private static partial Regex SizeForm();

    [GeneratedRegex(@"^[\w./-]+:/[\w./-]+(:ro)?$")]
    private static partial Regex VolumeForm();

    [GeneratedRegex(@"^/[\w./-]+(:[\w=,]+)?$")]
    private static partial Regex TmpfsForm();

    [GeneratedRegex(@"^[\d.]+:\d+:\d+$")]
    private static partial Regex PortForm();
}
