using Pipeline.Contracts;

namespace Pipeline.StarterModels.Onnx;

/// <summary>
/// Builds an ONNX file: inputs, constants, nodes and outputs, in the order they are added.
/// Every method that makes a value returns its name, so graphs read as expressions; the bytes depend on nothing but the calls.
/// Source: the ONNX IR specification (onnx/onnx, docs/IR.md) and its field numbers in onnx/onnx.proto3; IR version 8, operator set 17.
/// <code>
/// var model = new OnnxModel("identity");
/// model.Output(model.Node("Identity", [model.Input("x", TensorElementType.Float32, "batch", 4)], "y"), TensorElementType.Float32, "batch", 4);
/// var bytes = model.ToBytes();
/// </code>
/// </summary>
internal sealed class OnnxModel
{
    private const int IrVersion = 8;
    private const int OperatorSet = 17;

    private readonly string _name;
    private readonly List<ProtoMessage> _nodes = [];
    private readonly List<ProtoMessage> _initializers = [];
    private readonly List<ProtoMessage> _inputs = [];
    private readonly List<ProtoMessage> _outputs = [];
    private readonly List<KeyValuePair<string, string>> _metadata = [];
    private readonly SortedDictionary<string, long> _operatorSets = new(StringComparer.Ordinal) { [""] = OperatorSet };
    private readonly HashSet<string> _values = new(StringComparer.Ordinal) { "" };

    public OnnxModel(string name) => _name = name;

    /// <summary>Declares an input and returns its name. Dimensions are sizes or names: <c>Input("x", type, "batch", 4)</c>.</summary>
    public string Input(string input, TensorElementType type, params OnnxDim[] dims)
    {
        _inputs.Add(ValueInfo(Defined(input), type, dims));
        return input;
    }

    /// <summary>Adds a constant and returns its name.</summary>
    public string Constant(string constant, OnnxTensor tensor)
    {
        _initializers.Add(tensor.ToProto(Defined(constant)));
        return constant;
    }

    /// <summary>
    /// Adds a node with one output and returns the output's name. An input named "" is one left out.
    /// </summary>
    /// <exception cref="ArgumentException">An input that nothing has defined before, or an output defined twice.</exception>
    public string Node(string operation, IReadOnlyList<string> from, string output, params OnnxAttribute[] attributes)
    {
        Node(operation, from, [output], "", attributes);
        return output;
    }

    /// <summary>Adds a node with any number of outputs, of any operator domain.</summary>
    public void Node(
        string operation,
        IReadOnlyList<string> from,
        IReadOnlyList<string> to,
        string domain = "",
        params OnnxAttribute[] attributes
    )
    {
        var node = new ProtoMessage();
        foreach (var input in from)
            node.Text(1, Known(input));
        foreach (var output in to)
            node.Text(2, output.Length == 0 ? "" : Defined(output));
        node.Text(3, $"{operation}_{_nodes.Count}").Text(4, operation);
        foreach (var attribute in attributes)
            node.Message(5, attribute.ToProto());
        if (domain.Length > 0)
            node.Text(7, domain);
        _nodes.Add(node);
    }

    /// <summary>Declares that a value is an output of the model.</summary>
    public void Output(string value, TensorElementType type, params OnnxDim[] dims) => _outputs.Add(ValueInfo(Known(value), type, dims));

    /// <summary>Declares an output that is a sequence of maps (what classifiers of <c>ai.onnx.ml</c> give).</summary>
    public void OutputSequenceOfMaps(string value, TensorElementType key, TensorElementType item)
    {
        var map = new ProtoMessage().Varint(1, (int)key).Message(2, TensorType(item, null));
        var sequence = new ProtoMessage().Message(1, new ProtoMessage().Message(5, map));
        _outputs.Add(new ProtoMessage().Text(1, Known(value)).Message(2, new ProtoMessage().Message(4, sequence)));
    }

    /// <summary>Adds a line to the model's metadata.</summary>
    public void Metadata(string key, string value) => _metadata.Add(new(key, value));

    /// <summary>Declares the version of a further operator domain, e.g. <c>ai.onnx.ml</c>.</summary>
    public void UseOperators(string domain, long version) => _operatorSets[domain] = version;

    /// <summary>The file as bytes.</summary>
    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        ToProto().WriteTo(stream);
        return stream.ToArray();
    }

    /// <summary>Writes the file.</summary>
    public void Save(string path)
    {
        using var stream = File.Create(path);
        ToProto().WriteTo(stream);
    }

    private ProtoMessage ToProto()
    {
        var model = new ProtoMessage().Varint(1, IrVersion).Text(2, "pipeline").Message(7, Graph());
        foreach (var (domain, version) in _operatorSets)
            model.Message(8, new ProtoMessage().Text(1, domain).Varint(2, version));
        foreach (var (key, value) in _metadata)
            model.Message(14, new ProtoMessage().Text(1, key).Text(2, value));
        return model;
    }

    private ProtoMessage Graph()
    {
        var graph = new ProtoMessage();
        _nodes.ForEach(node => graph.Message(1, node));
        graph.Text(2, _name);
        _initializers.ForEach(tensor => graph.Message(5, tensor));
        _inputs.ForEach(input => graph.Message(11, input));
        _outputs.ForEach(output => graph.Message(12, output));
        return graph;
    }

    private static ProtoMessage ValueInfo(string value, TensorElementType type, OnnxDim[] dims) =>
        new ProtoMessage().Text(1, value).Message(2, TensorType(type, dims));

    private static ProtoMessage TensorType(TensorElementType type, OnnxDim[]? dims)
    {
        var tensor = new ProtoMessage().Varint(1, (int)type);
        if (dims is not null)
            tensor.Message(2, Shape(dims));
        return new ProtoMessage().Message(1, tensor);
    }

    private static ProtoMessage Shape(OnnxDim[] dims)
    {
        var shape = new ProtoMessage();
        foreach (var dim in dims)
            shape.Message(1, dim.Name is null ? new ProtoMessage().Varint(1, dim.Size) : new ProtoMessage().Text(2, dim.Name));
        return shape;
    }

    private string Defined(string value) =>
        _values.Add(value) ? value : throw new ArgumentException($"the value '{value}' of graph '{_name}' is defined twice");

    private string Known(string value) =>
        _values.Contains(value)
            ? value
            : throw new ArgumentException($"the value '{value}' of graph '{_name}' is used before it is defined");
}
