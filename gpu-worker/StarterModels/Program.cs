using System.Globalization;
using Pipeline.StarterModels;
using Pipeline.StarterModels.LanguageId;

const string Help = """
    Makes the starter models from the sentences in this project.

      dotnet run --project gpu-worker/StarterModels -- train      writes the model folders anew and prints how good they are
      dotnet run --project gpu-worker/StarterModels -- --check    fails if the committed folders are not what training gives
      dotnet run --project gpu-worker/StarterModels -- evaluate   trains in memory, prints how good the models are, writes nothing

    """;

var sentences = () => Sentences.Read(Path.Combine(SourceFolder.Find(), "Sentences"));
switch (args)
{
    case ["train"]:
        var trained = Train(sentences());
        foreach (var model in trained)
            ModelFolder.Write(Folder(model), ModelFolder.Files(model));
        Print(trained, sentences());
        return 0;
    case ["evaluate"]:
        Print(Train(sentences()), sentences());
        return 0;
    case ["--check"]:
        return Train(sentences()).All(IsCommitted) ? 0 : 1;
    case ["--help" or "-h"]:
        Console.Write(Help);
        return 0;
    default:
        Console.Error.Write(Help);
        return 2;
}

static LanguageIdModel[] Train(Sentences sentences) => [.. LanguageIdSpec.All.Select(spec => LanguageIdTrainer.Train(spec, sentences))];

static string Folder(LanguageIdModel model) => Path.Combine(SourceFolder.Find(), model.Spec.Name);

static bool IsCommitted(LanguageIdModel model)
{
    var differences = ModelFolder.Differences(Folder(model), ModelFolder.Files(model));
    Console.WriteLine($"{model.Spec.Name}: {(differences.Count == 0 ? "as committed" : "differs: " + string.Join(", ", differences))}");
    return differences.Count == 0;
}

static void Print(LanguageIdModel[] models, Sentences sentences)
{
    var accuracies = models.Select(model => Accuracy.Measure(model, sentences)).ToArray();
    var headers = string.Concat(models.Select(model => $"{model.Spec.Name, 20}"));
    Console.WriteLine($"{"held-out pieces of", -20}{"pieces", 8}{headers}");
    for (var row = 0; row < accuracies[0].Lengths.Count; row++)
    {
        var lengths = accuracies.Select(accuracy => accuracy.Lengths[row]).ToArray();
        Line(lengths[0].Name, lengths[0].Pieces.ToString(CultureInfo.InvariantCulture), lengths.Select(length => length.Share));
    }
    Line("mean of the lengths", "", accuracies.Select(accuracy => accuracy.Mean));
}

static void Line(string name, string pieces, IEnumerable<double> shares) =>
    Console.WriteLine(
        $"{name, -20}{pieces, 8}{string.Concat(shares.Select(share => $"{share.ToString("F4", CultureInfo.InvariantCulture), 20}"))}"
    );
