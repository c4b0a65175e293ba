using Pipeline.Contracts;
using static Pipeline.StarterModels.Onnx.OnnxAttribute;

namespace Pipeline.StarterModels.Onnx;

/// <summary>
/// A transformer encoder of BERT's shape with random weights: it means nothing and costs what a real one costs, which is what a
/// benchmark needs. Inputs <c>input_ids</c> and <c>attention_mask</c> (int64, batch × sequence), output <c>last_hidden_state</c>
/// (float32, batch × sequence × hidden). Source of the shape: Devlin et al., BERT, 2019; GELU by the exact error function.
/// </summary>
internal sealed class EncoderModel
{
    private const float NormEpsilon = 1e-12f;
    private const float HiddenPosition = -10_000;

    private readonly OnnxModel _graph = new("encoder");
    private readonly Prng _prng;
    private readonly int _hidden;
    private readonly int _heads;

    private EncoderModel(int hidden, int heads, ulong seed)
    {
        if (hidden % heads != 0)
            throw new ArgumentException($"{hidden} hidden units do not divide among {heads} heads");
        (_hidden, _heads, _prng) = (hidden, heads, new Prng(seed));
    }

    /// <summary>Builds the encoder; the same arguments give the same bytes.</summary>
    /// <param name="layers">Transformer layers.</param>
    /// <param name="hidden">Width of a token's vector; a multiple of <paramref name="heads"/>.</param>
    /// <param name="heads">Attention heads.</param>
    /// <param name="feedForward">Width inside the feed-forward part.</param>
    /// <param name="vocabulary">Token ids the model knows, from 0.</param>
    /// <param name="maxPositions">Longest sequence in tokens.</param>
    /// <param name="seed">Of the weights.</param>
    public static OnnxModel Create(int layers, int hidden, int heads, int feedForward, int vocabulary, int maxPositions, ulong seed)
    {
        var encoder = new EncoderModel(hidden, heads, seed);
        encoder.Build(layers, feedForward, vocabulary, maxPositions);
        return encoder._graph;
    }

    /// <summary>The shape of all-MiniLM-L6: 22.6 million parameters, a file of about 90 MB.</summary>
    public static OnnxModel CreateMiniLmShape(ulong seed) => Create(6, 384, 12, 1536, 30_522, 512, seed);

    private void Build(int layers, int feedForward, int vocabulary, int maxPositions)
    {
        var ids = _graph.Input("input_ids", TensorElementType.Int64, "batch", "sequence");
        var mask = _graph.Input("attention_mask", TensorElementType.Int64, "batch", "sequence");
        _graph.Constant("head_shape", OnnxTensor.Vector<long>(0, 0, _heads, _hidden / _heads));
        _graph.Constant("token_shape", OnnxTensor.Vector<long>(0, 0, _hidden));
        _graph.Constant("head_scale", OnnxTensor.Scalar(MathF.Sqrt(_hidden / _heads)));
        _graph.Constant("root_two", OnnxTensor.Scalar(MathF.Sqrt(2)));
        _graph.Constant("half", OnnxTensor.Scalar(0.5f));
        _graph.Constant("one", OnnxTensor.Scalar(1f));

        var bias = MaskBias(mask);
        var tokens = Embed(ids, vocabulary, maxPositions);
        for (var layer = 0; layer < layers; layer++)
        {
            var attended = Attend(tokens, bias, $"layer{layer}.attention");
            tokens = Norm(_graph.Node("Add", [attended, tokens], $"layer{layer}.seen"), $"layer{layer}.attention_norm");
            var fed = FeedForward(tokens, feedForward, $"layer{layer}.feed");
            tokens = Norm(_graph.Node("Add", [fed, tokens], $"layer{layer}.thought"), $"layer{layer}.norm");
        }
        _graph.Node("Identity", [tokens], "last_hidden_state");
        _graph.Output("last_hidden_state", TensorElementType.Float32, "batch", "sequence", _hidden);
    }

    /// <summary>0 where there is a token, a large negative number where there is padding, to be added to attention scores.</summary>
    private string MaskBias(string mask)
    {
        _graph.Constant("mask_axes", OnnxTensor.Vector<long>(1, 2));
        _graph.Constant("hidden_position", OnnxTensor.Scalar(HiddenPosition));
        var wide = _graph.Node("Unsqueeze", [mask, "mask_axes"], "wide_mask");
        var real = _graph.Node("Cast", [wide], "mask_float", Of("to", (long)TensorElementType.Float32));
        return _graph.Node("Mul", [_graph.Node("Sub", ["one", real], "padding"), "hidden_position"], "mask_bias");
    }

    private string Embed(string ids, int vocabulary, int maxPositions)
    {
        _graph.Constant("first", OnnxTensor.Vector(0L));
        _graph.Constant("sequence_axis", OnnxTensor.Vector(1L));
        var words = _graph.Node("Gather", [Random("word_embeddings", vocabulary, _hidden), ids], "words");
        var length = _graph.Node("Gather", [_graph.Node("Shape", [ids], "ids_shape"), "sequence_axis"], "length");
        var positions = _graph.Node("Slice", [Random("position_embeddings", maxPositions, _hidden), "first", length], "positions");
        var placed = _graph.Node("Add", [words, positions], "placed");
        return Norm(_graph.Node("Add", [placed, Random("type_embedding", _hidden)], "embedded"), "embedding_norm");
    }

    private string Attend(string tokens, string bias, string name)
    {
        var query = Heads(Dense(tokens, _hidden, _hidden, $"{name}.query"), [0, 2, 1, 3]);
        var key = Heads(Dense(tokens, _hidden, _hidden, $"{name}.key"), [0, 2, 3, 1]);
        var value = Heads(Dense(tokens, _hidden, _hidden, $"{name}.value"), [0, 2, 1, 3]);
        var scores = _graph.Node("Div", [_graph.Node("MatMul", [query, key], $"{name}.scores"), "head_scale"], $"{name}.scaled");
        var weights = _graph.Node("Softmax", [_graph.Node("Add", [scores, bias], $"{name}.masked")], $"{name}.weights", Of("axis", -1L));
        var mixed = _graph.Node("MatMul", [weights, value], $"{name}.mixed");
        var together = _graph.Node("Transpose", [mixed], $"{name}.together", Of("perm", [0L, 2, 1, 3]));
        var joined = _graph.Node("Reshape", [together, "token_shape"], $"{name}.joined");
        return Dense(joined, _hidden, _hidden, $"{name}.out");
    }

    private string Heads(string tokens, long[] order)
    {
        var split = _graph.Node("Reshape", [tokens, "head_shape"], $"{tokens}.split");
        return _graph.Node("Transpose", [split], $"{tokens}.heads", Of("perm", order));
    }

    private string FeedForward(string tokens, int width, string name)
    {
        var wide = Dense(tokens, _hidden, width, $"{name}.wide");
        var error = _graph.Node("Erf", [_graph.Node("Div", [wide, "root_two"], $"{name}.scaled")], $"{name}.erf");
        var gate = _graph.Node("Mul", [wide, _graph.Node("Add", [error, "one"], $"{name}.gate")], $"{name}.gated");
        return Dense(_graph.Node("Mul", [gate, "half"], $"{name}.gelu"), width, _hidden, $"{name}.narrow");
    }

    private string Dense(string values, int from, int to, string name)
    {
        var product = _graph.Node("MatMul", [values, Random($"{name}.weight", from, to)], $"{name}.product");
        return _graph.Node("Add", [product, Random($"{name}.bias", to)], name);
    }

    private string Norm(string values, string name)
    {
        var ones = new float[_hidden];
        Array.Fill(ones, 1f);
        _graph.Constant($"{name}.scale", OnnxTensor.Vector(ones));
        _graph.Constant($"{name}.shift", OnnxTensor.Vector(new float[_hidden]));
        var attributes = new[] { Of("axis", -1L), Of("epsilon", NormEpsilon) };
        return _graph.Node("LayerNormalization", [values, $"{name}.scale", $"{name}.shift"], name, attributes);
    }

    /// <summary>Weights spread evenly around zero, as wide as BERT's are when its training begins (standard deviation 0.02).</summary>
    private string Random(string name, params long[] dims)
    {
        var reach = 0.02f * MathF.Sqrt(3);
        var values = new float[dims.Aggregate(1L, (product, dim) => product * dim)];
        for (var at = 0; at < values.Length; at++)
            values[at] = _prng.Signed() * reach;
        return _graph.Constant(name, OnnxTensor.Of<float>(values, dims));
    }
}
