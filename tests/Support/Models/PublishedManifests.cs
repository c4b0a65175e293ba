using Pipeline.Contracts;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Support.Models;

/// <summary>What an owner would write for the published models.</summary>
internal static class PublishedManifests
{
    public static IReadOnlyList<string> Names { get; } =
    [
        "magika-v3_3",
        "mnist-cnn-dynamic",
        "mnist-cntk-fixed1",
        "mnist-logreg-sklearn",
        "silero-vad-16k",
        "squeezenet-fp16-fixed1",
        "super-resolution-dynamic",
        "tinybert-dynamic",
    ];

    public static ModelManifest Of(string name) =>
        name switch
        {
            "magika-v3_3" => Stacked(name, "bytes", "target_label"),
            "mnist-cnn-dynamic" => Stacked(name, "input_image", "output_probs"),
            "mnist-cntk-fixed1" => Stacked(name, "Input3", "Plus214_Output_0"),
            // The second output is a sequence of maps, which is left out.
            "mnist-logreg-sklearn" => Stacked(name, "float_input", "output_label"),
            "squeezenet-fp16-fixed1" => Stacked(name, "data_0", "softmaxout_1"),
            "super-resolution-dynamic" => Stacked(name, "input", "output"),
            "silero-vad-16k" => Describe(
                ModelKind.Tensor,
                new()
                {
                    ["input"] = Along(0),
                    ["state"] = Along(1),
                    ["sr"] = Along(null),
                },
                new() { ["output"] = Along(0), ["stateN"] = Along(1) },
                name: name
            ),
            "tinybert-dynamic" => Describe(
                ModelKind.Tensor,
                new()
                {
                    ["input_ids"] = Along(0, pad: 2),
                    ["attention_mask"] = Along(0, pad: 0),
                    ["token_type_ids"] = Along(0, pad: 0),
                },
                new() { ["output_0"] = Along(0), ["output_1"] = Along(0) },
                name: name
            ),
            _ => throw new ArgumentOutOfRangeException(nameof(name), name, "No such published model."),
        };

    private static ModelManifest Stacked(string name, string input, string output) =>
        Describe(ModelKind.Tensor, new() { [input] = Along(0) }, new() { [output] = Along(0) }, name: name);
}
