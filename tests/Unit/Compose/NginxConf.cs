using System.Text.RegularExpressions;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>The gateway's configuration, and where nginx sends a request by it.</summary>
internal sealed partial class NginxConf
{
    private readonly Directive _http;
    private readonly Directive _server;

    private NginxConf(string text)
    {
        var tokens = new Queue<string>(Token().Matches(text).Select(m => m.Value).Where(token => token[0] != '#'));
        _http = Block("", [], tokens).Find("http");
        _server = _http.Find("server");
    }

    public static NginxConf Read() => new(File.ReadAllText(Path.Combine(TidyTests.Root, "compose", "gateway", "nginx.conf")));

    public string Listen => _server.Find("listen").Arguments[0];

    /// <summary>Settings of all requests: <c>proxy_read_timeout</c>, ….</summary>
    public string Setting(string name) => _http.Find(name).Arguments[0];

    /// <summary>The addresses of a group of instances.</summary>
    public string Address(string upstream) =>
        _http.All("upstream").Single(group => group.Arguments[0] == upstream).Find("server").Arguments[0];

    public IEnumerable<string> Upstreams => _http.All("upstream").Select(group => group.Arguments[0]);

    /// <summary>The body that the gateway itself answers with, in a named location.</summary>
    public string Body(string location) => _server.All("location").Single(l => l.Arguments[0] == location).Find("return").Arguments[1];

    /// <summary>The group that gets a request; null when the gateway refuses it, or answers by itself.</summary>
    public string? Upstream(string method, string path)
    {
        var location = Location(path);
        if (location.All("internal").Any() || location.All("proxy_pass").SingleOrDefault()?.Arguments[0] is not { } pass)
        {
            return null;
        }

        var name = new Uri(pass.Replace("$service", "service", StringComparison.Ordinal)).Host;
        return name == "service" ? Mapped($"{method} {path}") : name;
    }

    private string? Mapped(string request)
    {
        var map = _http.All("map").Single(m => m.Arguments[1] == "$service");
        var found = map.Children.FirstOrDefault(line => line.Name[0] == '~' && Regex.IsMatch(request, line.Name[1..]));
        return (found ?? map.Find("default")).Arguments[0] is { Length: > 0 } name ? name : null;
    }

    /// <summary>As nginx chooses: the exact path, else the first pattern that matches, else the longest beginning.</summary>
    private Directive Location(string path)
    {
        var all = _server.All("location").Where(l => l.Arguments[0][0] != '@').ToArray();
        return all.FirstOrDefault(l => l.Arguments is ["=", var exact] && exact == path)
            ?? all.FirstOrDefault(l => l.Arguments is ["~", var pattern] && Regex.IsMatch(path, pattern))
            ?? all.Where(l => l.Arguments is [var start] && path.StartsWith(start, StringComparison.Ordinal))
                .MaxBy(l => l.Arguments[0].Length)!;
    }

    private static Directive Block(string name, IReadOnlyList<string> arguments, Queue<string> tokens)
    {
        var children = new List<Directive>();
        var words = new List<string>();
        while (tokens.TryDequeue(out var token) && token != "}")
        {
            if (token is ";" or "{")
            {
                children.Add(token == "{" ? Block(words[0], words[1..], tokens) : new Directive(words[0], words[1..], []));
                words = [];
            }
            else
            {
                words.Add(token[0] is '"' or '\'' ? token[1..^1] : token);
            }
        }

        return new Directive(name, arguments, children);
    }

    [GeneratedRegex("""#[^\n]*|"[^"]*"|'[^']*'|[;{}]|[^\s;{}"']+""")]
    private static partial Regex Token();

    private sealed record Directive(string Name, IReadOnlyList<string> Arguments, IReadOnlyList<Directive> Children)
    {
        public IEnumerable<Directive> All(string name) => Children.Where(child => child.Name == name);

        public Directive Find(string name) => All(name).Single();
    }
}
