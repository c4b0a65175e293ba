using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Sla.Objectives;

/// <summary>The objectives in force: of the folder that is named, else the defaults that come with the program.</summary>
internal sealed class ObjectiveSet(IReadOnlyList<Objective> objectives)
{
    public IReadOnlyList<Objective> All => objectives;

    /// <summary>Reads them when the program starts.</summary>
    /// <param name="folder">Its <c>*.yaml</c> and <c>*.yml</c> files, in order of their names; empty for the defaults.</param>
    /// <exception cref="OptionsException">A file is not as OpenSLO v1 says; the message has a line a mistake.</exception>
    public static ObjectiveSet Read(string folder)
    {
        var (objectives, mistakes) = OpenSlo.Read(folder.Length == 0 ? [("defaults.yaml", Defaults())] : Files(folder));
        return mistakes.Count == 0
            ? new ObjectiveSet(objectives)
            : throw new OptionsException(string.Join(Environment.NewLine, mistakes.Select(m => m.ToString())));
    }

    /// <summary>The text of the objectives that hold where none are named.</summary>
    public static string Defaults()
    {
        using var stream = typeof(ObjectiveSet).Assembly.GetManifestResourceStream("defaults.yaml")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static IEnumerable<(string, string)> Files(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new OptionsException($"{SlaOptions.Section}:{nameof(SlaOptions.ObjectivesFolder)} expects a folder, given \"{folder}\"");
        }

        return Directory
            .EnumerateFiles(folder)
            .Where(path => Path.GetExtension(path) is ".yaml" or ".yml")
            .Order(StringComparer.Ordinal)
            .Select(path => (Path.GetFileName(path), File.ReadAllText(path)));
    }
}
