using System.Collections.Concurrent;
using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Pipeline.Standalone.OpenApi;

/// <summary>What the doc comments say of a property, from the XML files that the compiler writes beside the assemblies.</summary>
internal static partial class Docs
{
    private static readonly ConcurrentDictionary<Assembly, Dictionary<string, XElement>> Files = new();

    /// <summary>The property's summary, or its parameter's in a record's header, as Markdown; null where there is none.</summary>
    public static string? Of(PropertyInfo property)
    {
        var type = property.DeclaringType!;
        var members = Files.GetOrAdd(type.Assembly, Read);
        var name = (type.IsGenericType ? type.GetGenericTypeDefinition() : type).FullName!.Replace('+', '.');
        var said =
            members.GetValueOrDefault($"P:{name}.{property.Name}")?.Element("summary")
            ?? members
                .GetValueOrDefault($"T:{name}")
                ?.Elements("param")
                .FirstOrDefault(param => param.Attribute("name")?.Value == property.Name);
        return said is null ? null : Spaces().Replace(string.Concat(said.Nodes().Select(Text)), " ").Trim();
    }

    private static Dictionary<string, XElement> Read(Assembly assembly)
    {
        var file = Path.ChangeExtension(assembly.Location, ".xml");
        return File.Exists(file)
            ? XDocument.Load(file).Descendants("member").ToDictionary(member => member.Attribute("name")!.Value, StringComparer.Ordinal)
            : [];
    }

    private static string Text(XNode node) =>
        node switch
        {
            XText text => text.Value,
            XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
            XElement { Name.LocalName: "see" or "paramref" } see => $"`{Last(see.Attribute("cref") ?? see.Attribute("name"))}`",
            XElement other => string.Concat(other.Nodes().Select(Text)),
            _ => "",
        };

    /// <summary>The last part of a name, as the API writes it.</summary>
    private static string Last(XAttribute? name) =>
        System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(name?.Value.Split('.', ':')[^1] ?? "");

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
