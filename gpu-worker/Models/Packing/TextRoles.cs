using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;

namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>What an input of a text model is fed with.</summary>
internal enum TextRole
{
    Ids,
    Mask,
    Types,
}

/// <summary>Finds out which input plays which role: as the manifest says, else by BERT's names, else the only input is the ids.</summary>
internal static class TextRoles
{
    public static Dictionary<string, TextRole> Assign(ModelManifest manifest, List<ModelMistake> mistakes)
    {
        var roles = new Dictionary<string, TextRole>();
        foreach (var (word, name) in manifest.Tokenizer!.Inputs ?? Defaults(manifest))
        {
            if (!Enum.TryParse<TextRole>(word, ignoreCase: true, out var role) || char.IsAsciiDigit(word[0]))
                Mistake($"tokenizer.inputs.{word}", "ids, mask or types", $"\"{word}\"");
            else if (!manifest.Inputs.ContainsKey(name))
                Mistake($"tokenizer.inputs.{word}", $"one of the inputs {string.Join(", ", manifest.Inputs.Keys)}", $"\"{name}\"");
            else if (!roles.TryAdd(name, role))
                Mistake($"tokenizer.inputs.{word}", "an input of its own", $"\"{name}\" again");
        }

        if (mistakes.Count == 0 && !roles.ContainsValue(TextRole.Ids))
            Mistake("tokenizer.inputs.ids", "the name of the input that takes the token ids", "none");
        foreach (var name in manifest.Inputs.Keys.Where(name => mistakes.Count == 0 && !roles.ContainsKey(name)).ToList())
            Mistake(
                $"inputs.{name}",
                "a role in tokenizer.inputs: ids, mask or types",
                "none; a text model has nothing else to feed it with"
            );
        return roles;

        void Mistake(string field, string expected, string given) =>
            mistakes.Add(new ModelMistake(ModelFolder.ManifestFile, field, expected, given));
    }

    private static Dictionary<string, string> Defaults(ModelManifest manifest)
    {
        if (manifest.Inputs.Count == 1)
            return new() { ["ids"] = manifest.Inputs.Keys.Single() };
        (string Word, string Name)[] bert = [("ids", "input_ids"), ("mask", "attention_mask"), ("types", "token_type_ids")];
        return bert.Where(role => manifest.Inputs.ContainsKey(role.Name)).ToDictionary(role => role.Word, role => role.Name);
    }
}
