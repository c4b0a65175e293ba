using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>
/// Published batch latencies by rows (milliseconds), as gathered in SCHEDULER_FACTS section 4, each with its source. One task is one unit.
/// </summary>
internal static class Profiles
{
    public static IReadOnlyList<(DeviceProfile Profile, string Source)> All { get; } =
    [
        // NVIDIA/TensorRT release/9.3, demo/BERT: TensorRT on A100-40.
        (
            Rows("bert-base-s128-a100", (1, 0.63), (2, 0.73), (4, 0.95), (8, 1.31), (16, 2.08), (32, 3.92), (64, 7.63), (128, 15.30)),
            "TensorRT demo/BERT"
        ),
        (Rows("bert-base-s128-int8-a100", (1, 0.56), (8, 0.96), (16, 1.34), (32, 2.25), (64, 4.17), (128, 8.10)), "TensorRT demo/BERT"),
        (Rows("bert-base-s384-a100", (1, 1.26), (8, 3.35), (32, 12.92), (128, 48.84)), "TensorRT demo/BERT"),
        (Rows("bert-large-s128-a100", (1, 1.56), (8, 3.93), (32, 12.95), (128, 48.86)), "TensorRT demo/BERT"),
        (Rows("bert-large-s384-a100", (1, 2.98), (8, 11.04), (32, 40.83), (128, 155.47)), "TensorRT demo/BERT"),
        // DeepLearningExamples PyTorch/LanguageModeling/BERT/triton: ONNX Runtime and its TensorRT provider.
        (Rows("bert-large-s384-ort-a100", (1, 6.5), (8, 28.9), (16, 56.2)), "DeepLearningExamples BERT/triton/large"),
        (Rows("bert-large-s384-ort-trt-a100", (1, 3.5), (8, 15.2), (16, 29.2)), "DeepLearningExamples BERT/triton/large"),
        (Rows("bert-large-s384-ort-v100", (1, 11.8), (8, 61.8), (16, 115.9)), "DeepLearningExamples BERT/triton/large"),
        (Rows("dist6l-s384-a100", (1, 1.7), (8, 5.6), (16, 10.2)), "DeepLearningExamples BERT/triton/dist6l"),
        (Rows("dist6l-s384-v100", (1, 2.5), (8, 10.8), (16, 20.7)), "DeepLearningExamples BERT/triton/dist6l"),
        (Rows("dist6l-s384-t4", (1, 3.9), (8, 30.2), (16, 60.1)), "DeepLearningExamples BERT/triton/dist6l"),
        (Rows("dist4l-s384-a100", (1, 1.3), (8, 2.2), (16, 3.7)), "DeepLearningExamples BERT/triton/dist4l"),
        (Rows("dist4l-s384-v100", (1, 1.4), (8, 3.5), (16, 6.4)), "DeepLearningExamples BERT/triton/dist4l"),
        (Rows("dist4l-s384-t4", (1, 1.4), (8, 9.4), (16, 18.8)), "DeepLearningExamples BERT/triton/dist4l"),
        // DeepLearningExamples ConvNets/triton/resnet50: end to end, above 32 rows bound by the transfer.
        (
            Rows("resnet50-trt-v100", (1, 2.84), (4, 4.19), (8, 5.98), (16, 9.27), (32, 15.66)),
            "DeepLearningExamples ConvNets/triton/resnet50"
        ),
        (
            Rows("resnet50-trt-a100", (1, 2.13), (8, 3.90), (16, 5.79), (32, 11.19), (64, 25.2), (128, 48.1)),
            "DeepLearningExamples ConvNets/triton/resnet50"
        ),
        (Rows("resnet50-trt-t4", (1, 3.00), (8, 9.00), (32, 28.4), (128, 100.2)), "DeepLearningExamples ConvNets/triton/resnet50"),
        // Flat while launches bound it, then a line.
        (
            Rows("resnet50-pyt-v100", (1, 12.8), (16, 14.0), (32, 15.8), (64, 23.2), (128, 43.6), (256, 84.1)),
            "DeepLearningExamples ConvNets/resnet50v1.5"
        ),
        (Rows("resnet50-int8-a100", (1, 0.453), (8, 0.643), (2048, 48.3)), "MLPerf Inference v3.0"),
        (Rows("resnet50-int8-l4", (1, 0.355), (8, 0.795), (2048, 155.6)), "MLPerf Inference v3.0"),
        (DeviceProfile.Line("symphony-resnet", 5_204_000, 1_082_000), "Symphony tools/bench_dispatcher"),
        // Nexus (SOSP'19) tables: Caffe on TITAN X.
        (Rows("vgg16-titanx", (1, 6.28), (8, 28.8), (32, 107), (64, 222)), "Nexus tests/data/model_db"),
        (Rows("vgg-s-titanx", (1, 3.07), (8, 8.99), (64, 58.4)), "Nexus tests/data/model_db"),
    ];

    /// <exception cref="ArgumentException">No profile has this name.</exception>
    public static DeviceProfile Find(string name) =>
        All.FirstOrDefault(p => p.Profile.Name == name).Profile
        ?? (SharedData.Exists(Csv(name)) ? FromCsv(SharedData.PathOf(Csv(name))) : null)
        ?? throw new ArgumentException($"No profile is called {name}. Known: {string.Join(", ", All.Select(p => p.Profile.Name))}.");

    /// <summary>Tokens of one batch against the time of 32 layers (file of ../shared/data/profiles; MIT, from vidur).</summary>
    public static DeviceProfile FromCsv(string path) =>
        new(
            Path.GetFileNameWithoutExtension(path),
            File.ReadLines(path)
                .Skip(1)
                .Select(line => line.Split(','))
                .Select(f => (long.Parse(f[0], Invariant), 1e6 * double.Parse(f[3], Invariant)))
        );

    private static string Csv(string name) => Path.Combine("profiles", $"{name}.csv");

    private static readonly System.Globalization.CultureInfo Invariant = System.Globalization.CultureInfo.InvariantCulture;

    private static DeviceProfile Rows(string name, params (long Rows, double Ms)[] points) =>
        new(name, points.Select(p => (p.Rows, p.Ms * 1e6)));
}
