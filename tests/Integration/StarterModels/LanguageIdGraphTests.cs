using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.StarterModels;
using Pipeline.StarterModels.LanguageId;
using Xunit;

namespace Pipeline.Tests.Integration.StarterModels;

public sealed class LanguageIdGraphTests
{
    private static readonly Sentences Sentences = Sentences.Read(Path.Combine(SourceFolder.Find(), "Sentences"));

    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void The_graph_computes_what_the_trainer_measured(string name)
    {
        var model = LanguageIdTrainer.Train(LanguageIdSpec.All.Single(spec => spec.Name == name), Sentences);
        using var session = GraphRun.Load(LanguageIdGraph.Build(model));
        string[] texts = [.. Sentences.HeldOut.SelectMany(lines => lines), "", "a", "Ünïcödé 你好 🙂", "nul\0inside"];

        var probabilities = Run(session, texts, padding: 0);

        for (var row = 0; row < texts.Length; row++)
            Assert.Equal(Softmax(model.Logits(Encoding.UTF8.GetBytes(texts[row]))), probabilities[row], (a, b) => Math.Abs(a - b) < 1e-5);
    }

    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void A_row_is_the_same_alone_in_a_batch_and_padded(string name)
    {
        using var session = LoadShipped(name);
        string[] texts = ["Guten Morgen!", "¿Qué hora es?", "x"];

        var together = Run(session, texts, padding: 0);

        Assert.Equal(together, Run(session, texts, padding: 300));
        for (var row = 0; row < texts.Length; row++)
            Assert.Equal(together[row], Run(session, [texts[row]], padding: 0)[0]);
    }

    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void An_empty_text_could_be_any_language(string name)
    {
        using var session = LoadShipped(name);

        Assert.All(Run(session, [""], padding: 0)[0], probability => Assert.Equal(0.1f, probability, 6));
        Assert.All(Run(session, [""], padding: 8)[0], probability => Assert.Equal(0.1f, probability, 6));
    }

    private static InferenceSession LoadShipped(string name) =>
        GraphRun.Load(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "starter-models", name, "model.onnx")));

    private static float[][] Run(InferenceSession session, string[] texts, int padding)
    {
        var rows = texts.Select(Encoding.UTF8.GetBytes).ToArray();
        var length = rows.Max(row => row.Length) + padding;
        var bytes = new byte[rows.Length * length];
        for (var row = 0; row < rows.Length; row++)
            rows[row].CopyTo(bytes, row * length);
        return [.. session.Run((LanguageIdGraph.Input, TensorElementType.UInt8, bytes, [rows.Length, length])).Chunk(10)];
    }

    private static float[] Softmax(float[] logits)
    {
        var powers = logits.Select(logit => Math.Exp(logit - logits.Max())).ToArray();
        return [.. powers.Select(power => (float)(power / powers.Sum()))];
    }
}
