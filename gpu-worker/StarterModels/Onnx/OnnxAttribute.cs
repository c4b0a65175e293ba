namespace Pipeline.StarterModels.Onnx;

/// <summary>
/// An attribute of a node. Field numbers and type codes: onnx.proto3, message AttributeProto.
/// </summary>
internal sealed class OnnxAttribute
{
    private readonly ProtoMessage _proto;

    private OnnxAttribute(string name, int type, Action<ProtoMessage> value)
    {
        _proto = new ProtoMessage().Text(1, name);
        value(_proto);
        _proto.Varint(20, type);
    }

    public static OnnxAttribute Of(string name, float value) => new(name, 1, p => p.Float(2, value));

    public static OnnxAttribute Of(string name, long value) => new(name, 2, p => p.Varint(3, value));

    public static OnnxAttribute Of(string name, string value) => new(name, 3, p => p.Text(4, value));

    public static OnnxAttribute Of(string name, OnnxTensor value) => new(name, 4, p => p.Message(5, value.ToProto("")));

    public static OnnxAttribute Of(string name, float[] values) => new(name, 6, p => Each(values, v => p.Float(7, v)));

    public static OnnxAttribute Of(string name, long[] values) => new(name, 7, p => Each(values, v => p.Varint(8, v)));

    public static OnnxAttribute Of(string name, string[] values) => new(name, 8, p => Each(values, v => p.Text(9, v)));

    internal ProtoMessage ToProto() => _proto;

    private static void Each<T>(T[] values, Action<T> write) => Array.ForEach(values, write);
}
