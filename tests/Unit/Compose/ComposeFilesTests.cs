using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>
/// No container engine runs where these tests do. So they hold what can be held without one: the files against the rules of the Compose
/// Specification, against each other, and against the code.
/// </summary>
public sealed partial class ComposeFilesTests
{
    private static readonly string Folder = Path.Combine(TidyTests.Root, "compose");
    private static readonly ComposeFile Compose = ComposeFile.Read("compose.yaml");
    private static readonly ComposeFile Gpu = ComposeFile.Read("compose.gpu.yaml");
    private static readonly Dockerfile Images = Dockerfile.Read();
    private static readonly NginxConf Nginx = NginxConf.Read();

    /// <summary>Read by the libraries that the services are made of.</summary>
    private static readonly string[] VariablesOfLibraries = ["OTEL_EXPORTER_OTLP_ENDPOINT"];

    /// <summary>Its files come with the services' metrics.</summary>
    private const string Observability = "./observability/";

    private static IEnumerable<Node> Ours => Compose.Services.Where(service => service["build"].Exists);

    /// <summary>Those that serve, and are asked for their health.</summary>
    private static IEnumerable<Node> Serving => Ours.Where(service => service["healthcheck"].Exists);

    [Fact]
    public void The_files_keep_the_rules_of_the_Compose_Specification()
    {
        Assert.Empty(ComposeSchema.Mistakes(Compose.Document));
        Assert.Empty(ComposeSchema.Mistakes(Gpu.Document));
    }

    [Fact]
    public void What_a_service_waits_for_exists_and_can_come_true()
    {
        Assert.All(
            Compose.Services.SelectMany(service => service["depends_on"].Children.Select(need => (service, need))),
            pair =>
            {
                var (service, need) = pair;
                var target = Compose.Service(need.Name);
                Assert.Subset(service["profiles"].Strings.ToHashSet(), target["profiles"].Strings.ToHashSet());
                switch (need["condition"].Text)
                {
                    case "service_healthy":
                        Assert.True(target["healthcheck"].Exists, $"{need.Path}: {target.Name} has no health check");
                        break;
                    case "service_completed_successfully":
                        Assert.Equal("no", target["restart"].Text);
                        break;
                }
            }
        );
        Assert.Equal(Compose.Services.Count(), InOrderOfStart().Count);
    }

    [Fact]
    public void The_schema_comes_after_the_database_and_before_the_services_and_the_gateway_last()
    {
        var order = InOrderOfStart();
        Assert.True(order.IndexOf("postgres") < order.IndexOf("migrate"));
        Assert.All(
            Serving,
            service =>
            {
                Assert.Equal("service_completed_successfully", service["depends_on"]["migrate"]["condition"].Text);
                Assert.Equal("service_healthy", service["depends_on"]["rabbitmq"]["condition"].Text);
            }
        );
        Assert.Equal(
            Nginx.Upstreams.Select(group => Nginx.Address(group).Split(':')[0]).Distinct(),
            Compose.Service("gateway")["depends_on"].Children.Select(need => need.Name)
        );
    }

    [Fact]
    public void Networks_and_volumes_are_declared_and_used()
    {
        var services = Compose.Services.ToArray();
        Assert.Equal(Names(Compose.Document["networks"]), Sorted(services.SelectMany(s => s["networks"].Strings)));
        Assert.Equal(
            Names(Compose.Document["volumes"]),
            Sorted(services.SelectMany(s => s["volumes"].Strings).Where(v => v[0] != '.').Select(v => v.Split(':')[0]))
        );
        Assert.All(
            services.SelectMany(s => s["volumes"].Strings).Where(volume => volume[0] == '.'),
            volume =>
            {
                var path = Path.Combine(Folder, volume.Split(':')[0]);
                Assert.EndsWith(":ro", volume, StringComparison.Ordinal);
                Assert.True(Path.Exists(path) || IsToCome(volume), $"There is no {path}.");
            }
        );
    }

    [Fact]
    public void Only_the_gateway_is_published_and_nothing_beyond_this_machine_unless_asked_for()
    {
        var published = Compose.Services.Where(service => service["ports"].Exists).ToArray();
        Assert.Equal("gateway", Assert.Single(published, service => !service["profiles"].Exists).Name);
        Assert.All(published.SelectMany(s => s["ports"].Strings), port => Assert.StartsWith("127.0.0.1:", port, StringComparison.Ordinal));
        // Servers are where only services reach them.
        Assert.All((string[])["postgres", "rabbitmq"], name => Assert.Equal(["servers"], Compose.Service(name)["networks"].Strings));
        Assert.All((string[])["servers", "doors"], network => Assert.Equal(true, Compose.Document["networks"][network]["internal"].Value));
    }

    [Fact]
    public void Every_container_is_confined() =>
        Assert.All(
            Compose.Services,
            service =>
            {
                Assert.Equal(true, service["read_only"].Value);
                Assert.Equal(["ALL"], service["cap_drop"].Strings);
                Assert.Contains("no-new-privileges:true", service["security_opt"].Strings);
                Assert.True(service["restart"].Exists);
                Assert.True(service["deploy"]["resources"]["limits"]["cpus"].Exists, $"{service.Path} has no limit of CPUs");
                Assert.True(service["deploy"]["resources"]["limits"]["memory"].Exists, $"{service.Path} has no limit of memory");
                foreach (var user in Users(service))
                {
                    Assert.Matches("^[1-9][0-9]*:[0-9]+$", user);
                }
            }
        );

    [Fact]
    public void Images_are_pinned_by_version()
    {
        Assert.All(Compose.Services.Where(s => !s["build"].Exists), s => Assert.Matches(PinnedImage(), s["image"].Text));
        Assert.All(
            Ours.Concat(Gpu.Services),
            s => Assert.Matches("^pipeline/[a-z-]+:dev$", s["image"].Text) // the default of PIPELINE_VERSION
        );
        Assert.All(
            Images.Stages.Where(stage =>
                Images.Stages.All(s => s.Name != stage.From) && !stage.From.Contains('$', StringComparison.Ordinal)
            ),
            stage => Assert.Matches(PinnedImage(), stage.From)
        );
    }

    [Fact]
    public void Every_variable_is_explained_in_the_example_and_every_setting_of_the_example_is_used()
    {
        var used = Compose.Variables.Concat(Gpu.Variables).ToArray();
        var example = ComposeFile.ExampleSettings();

        Assert.Equal(Sorted(example.Keys), Sorted(used.Select(variable => variable.Name)));
        // A variable that must be set says so, and has no value that would work for everybody.
        Assert.All(
            used,
            variable => Assert.Equal((variable.Name, variable.IsRequired ? "" : variable.Text), (variable.Name, example[variable.Name]))
        );
        Assert.All(
            used.Where(variable => variable.Name.EndsWith("PASSWORD", StringComparison.Ordinal)),
            variable => Assert.Equal((true, $"set {variable.Name} in .env"), (variable.IsRequired, variable.Text))
        );
    }

    [Fact]
    public void Every_environment_variable_is_an_option_of_its_program()
    {
        Assert.All(
            Ours.Concat(Gpu.Services).SelectMany(service => service["environment"].Children.Select(variable => (service, variable))),
            pair =>
            {
                var name = pair.variable.Name;
                Assert.True(
                    VariablesOfLibraries.Contains(name) || IsOption(name.Split("__"), Program(pair.service)),
                    $"{pair.variable.Path} is no option of {Program(pair.service).GetName().Name}."
                );
            }
        );
    }

    [Fact]
    public void The_options_that_are_given_hold()
    {
        Assert.All(
            Serving.Select(service => (service, changes: (Node?)null)).Append((Compose.Service("gpu-worker"), Gpu.Service("gpu-worker"))),
            pair =>
            {
                var (service, changes) = pair;
                // Later ones go before, as with the files.
                var configuration = new ConfigurationBuilder()
                    .AddInMemoryCollection(Settings(service))
                    .AddInMemoryCollection(changes is null ? [] : Settings(changes))
                    .Build();
                var options = Sections(Program(service))
                    .Select(type => type.GetMethod("Read", [typeof(IConfiguration)]))
                    .OfType<MethodInfo>();
                Assert.NotEmpty(options);
                Assert.All(options, read => read.Invoke(null, [configuration]));

                var servers = PipelineOptions.Read(configuration);
                Assert.Equal("postgres", new NpgsqlConnectionStringBuilder(servers.Database).Host);
                var broker = new Uri(servers.Broker);
                Assert.Equal(("rabbitmq", "/pipeline"), (broker.Host, broker.AbsolutePath));
            }
        );
    }

    [Fact]
    public void Services_are_asked_for_their_health_where_they_listen()
    {
        Assert.All(
            Serving,
            service =>
            {
                var program = Images.Target(service["build"]["target"].Text);
                Assert.Equal(["CMD", .. EntryPoint(program), HealthProbe.Argument], service["healthcheck"]["test"].Strings);
            }
        );
        Assert.All(
            Nginx.Upstreams.Select(Nginx.Address),
            address =>
            {
                var (name, port) = (address.Split(':')[0], address.Split(':')[1]);
                foreach (var source in OnnxRuntimeSources())
                {
                    var stages = Images.Ancestry(Compose.Service(name)["build"]["target"].Text, source).ToArray();
                    Assert.Contains(stages.SelectMany(s => s.Of("EXPOSE")), exposed => exposed == port);
                    Assert.Contains(
                        stages.SelectMany(s => s.Of("ENV")),
                        env => env.Contains($"ASPNETCORE_HTTP_PORTS={port}", StringComparison.Ordinal)
                    );
                }
            }
        );
        Assert.EndsWith($":{Nginx.Listen}", Assert.Single(Compose.Service("gateway")["ports"].Strings), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_begun_has_the_time_to_end() =>
        Assert.All(Serving, service => Assert.True(Seconds(service["stop_grace_period"]) > new HostOptions().ShutdownTimeout.TotalSeconds));

    [Fact]
    public void PostgreSQL_has_the_settings_of_the_private_one_and_connections_for_all()
    {
        var settings = Compose
            .Service("postgres")["command"]
            .Strings.Where(word => word.StartsWith("--", StringComparison.Ordinal))
            .Select(word => word[2..].Split('=', 2))
            .ToDictionary(pair => pair[0], pair => pair[1]);
        string[] ofThePlace = ["listen_addresses", "unix_socket_directories", "max_connections", "shared_buffers"];
        Assert.All(
            PrivatePostgres.Settings.Where(setting => !ofThePlace.Contains(setting.Key)),
            setting => Assert.Equal(setting.Value, settings[setting.Key])
        );

        const int ForOperatorsAndUpgrades = 20;
        var connections =
            Serving.Sum(service => (int)Convert.ToInt64(service["deploy"]["replicas"].Value, CultureInfo.InvariantCulture))
            * new PipelineOptions().DatabaseConnectionsMax;
        Assert.True(connections + ForOperatorsAndUpgrades <= int.Parse(settings["max_connections"], CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Every_image_is_built_from_what_there_is()
    {
        var ignore = File.ReadAllLines(Path.Combine(Folder, "Dockerfile.dockerignore"));
        var build = string.Join('\n', Images.Target("build").Lines);
        Assert.All(
            Ours,
            service =>
            {
                Assert.Equal(TidyTests.Root, Path.GetFullPath(Path.Combine(Folder, service["build"]["context"].Text)));
                Assert.True(File.Exists(Path.Combine(TidyTests.Root, service["build"]["dockerfile"].Text)));

                var target = service["build"]["target"].Text;
                var published = Assert.Single(PublishedProject().Matches(build), m => m.Groups[2].Value == target).Groups[1].Value;
                var project = Assert.Single(Directory.GetFiles(Path.Combine(TidyTests.Root, published), "*.csproj"));
                Assert.Equal(["dotnet", $"{AssemblyName(project)}.dll"], EntryPoint(Images.Target(target)));
                Assert.Contains($"--from=build /programs/{target} .", Images.Target(target).Of("COPY"));
            }
        );
        Assert.All(
            Images.Stages.SelectMany(stage => stage.Of("COPY")),
            copy =>
            {
                var words = copy.Split(' ').Where(word => !word.StartsWith("--chown", StringComparison.Ordinal)).ToArray();
                if (words[0].StartsWith("--from=", StringComparison.Ordinal))
                {
                    Assert.Contains(Images.Stages, stage => stage.Name == words[0]["--from=".Length..]);
                    return;
                }

                Assert.All(words[..^1], source => Assert.True(Path.Exists(Path.Combine(TidyTests.Root, source)), $"COPY {source}"));
            }
        );
        Assert.All(
            ignore.Where(line => line.StartsWith('!')),
            kept => Assert.True(Path.Exists(Path.Combine(TidyTests.Root, kept[1..])), kept)
        );
    }

    [Fact]
    public void The_GPU_override_changes_services_that_there_are_and_names_a_source_of_ONNX_Runtime()
    {
        Assert.All(Gpu.Services, service => Assert.True(Compose.Service(service.Name)["build"].Exists));
        Assert.All(
            Ours.Concat(Gpu.Services).Select(service => service["build"]["args"]["ONNX_RUNTIME_SOURCE"]).Where(source => source.Exists),
            source => Assert.Contains(source.Text, OnnxRuntimeSources())
        );
        Assert.All(
            OnnxRuntimeSources(),
            source => Assert.Contains(Images.Ancestry("gpu-worker", source), stage => stage.Name == $"runtime-{source}")
        );
    }

    private static IEnumerable<KeyValuePair<string, string?>> Settings(Node service) =>
        service["environment"]
            .Children.Select(variable => KeyValuePair.Create<string, string?>(variable.Name.Replace("__", ":"), variable.Text));

    private static List<string> InOrderOfStart()
    {
        var order = new List<string>();
        var waiting = Compose.Services.ToList();
        while (waiting.RemoveAll(service => StartsNow(service)) > 0) { }

        Assert.True(waiting.Count == 0, $"They wait for each other: {string.Join(", ", waiting.Select(s => s.Name))}");
        return order;

        bool StartsNow(Node service)
        {
            var starts = service["depends_on"].Children.All(need => order.Contains(need.Name));
            if (starts)
            {
                order.Add(service.Name);
            }

            return starts;
        }
    }

    /// <summary>The user of a container: the file's, else that of its image, from every source of ONNX Runtime.</summary>
    private static IEnumerable<string> Users(Node service) =>
        service["user"].Exists
            ? [service["user"].Text]
            : OnnxRuntimeSources()
                .Select(source =>
                    Images.Ancestry(service["build"]["target"].Text, source).SelectMany(stage => stage.Of("USER")).FirstOrDefault("root")
                );

    private static Assembly Program(Node service) =>
        Assembly.Load(
            Path.GetFileNameWithoutExtension(EntryPoint(Images.Target(Compose.Service(service.Name)["build"]["target"].Text))[1])
        );

    private static string[] EntryPoint(Stage stage) =>
        [.. Assert.Single(stage.Of("ENTRYPOINT")).Trim('[', ']').Split(',').Select(word => word.Trim(' ', '"'))];

    /// <summary>The records of options that a program has: its own, and those of the parts it is made of.</summary>
    private static IEnumerable<Type> Sections(Assembly program) =>
        program
            .GetReferencedAssemblies()
            .Where(part => part.Name!.StartsWith("Pipeline.", StringComparison.Ordinal))
            .Select(Assembly.Load)
            .Append(program)
            .SelectMany(part => part.GetTypes())
            .Where(type => SectionOf(type) is not null);

    private static string? SectionOf(Type type) =>
        type.GetField("Section") is { IsLiteral: true } field ? (string?)field.GetRawConstantValue() : null;

    private static bool IsOption(string[] name, Assembly program) =>
        Sections(program)
            .Where(type => string.Equals(SectionOf(type), name[0], StringComparison.OrdinalIgnoreCase))
            .Any(type => HasProperty(type, name.AsSpan(1)));

    private static bool HasProperty(Type type, ReadOnlySpan<string> path)
    {
        if (path.IsEmpty)
        {
            return true;
        }

        if (int.TryParse(path[0], CultureInfo.InvariantCulture, out _))
        {
            return type.IsGenericType && HasProperty(type.GetGenericArguments()[0], path[1..]);
        }

        var property = type.GetProperty(path[0], BindingFlags.Public | BindingFlags.Instance | BindingFlags.IgnoreCase);
        return property is not null && HasProperty(property.PropertyType, path[1..]);
    }

    /// <summary>What <c>native.targets</c> knows.</summary>
    private static string[] OnnxRuntimeSources() =>
        [
            .. Sorted(
                OnnxRuntimeSource()
                    .Matches(File.ReadAllText(Path.Combine(TidyTests.Root, "gpu-worker", "OnnxRuntime", "native.targets")))
                    .Select(m => m.Groups[1].Value)
            ),
        ];

    private static string AssemblyName(string project) =>
        AssemblyNameProperty().Match(File.ReadAllText(project)) is { Success: true } named
            ? named.Groups[1].Value
            : Path.GetFileNameWithoutExtension(project);

    private static bool IsToCome(string volume) =>
        volume.StartsWith(Observability, StringComparison.Ordinal) && !Directory.Exists(Path.Combine(Folder, Observability));

    private static double Seconds(Node duration) => double.Parse(duration.Text.TrimEnd('s'), CultureInfo.InvariantCulture);

    private static IEnumerable<string> Names(Node map) => Sorted(map.Children.Select(child => child.Name));

    private static IEnumerable<string> Sorted(IEnumerable<string> names) => names.Distinct().Order(StringComparer.Ordinal);

    [GeneratedRegex(@"^[a-z./-]+:v?\d+[\w.-]*$")]
    private static partial Regex PinnedImage();

    [GeneratedRegex(@"publish (\S+) (\S+) ")]
    private static partial Regex PublishedProject();

    [GeneratedRegex(@"'\$\(OnnxRuntimeSource\)' == '(\w+)'")]
    private static partial Regex OnnxRuntimeSource();

    [GeneratedRegex("<AssemblyName>(.+)</AssemblyName>")]
    private static partial Regex AssemblyNameProperty();
}
