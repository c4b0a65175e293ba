using Pipeline.Contracts;
using Pipeline.StarterModels.Onnx;
using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class OnnxModelTests
{
    [Fact]
    public void The_same_calls_give_the_same_bytes() => Assert.Equal(Identity().ToBytes(), Identity().ToBytes());

    [Fact]
    public void Save_writes_what_ToBytes_gives()
    {
        var path = Path.GetTempFileName();
        try
        {
            Identity().Save(path);
            Assert.Equal(Identity().ToBytes(), File.ReadAllBytes(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_value_must_be_defined_before_it_is_used()
    {
        var error = Assert.Throws<ArgumentException>(() => new OnnxModel("g").Node("Identity", ["x"], "y"));

        Assert.Equal("the value 'x' of graph 'g' is used before it is defined", error.Message);
    }

    [Fact]
    public void A_value_is_defined_once()
    {
        var model = new OnnxModel("g");
        model.Constant("x", OnnxTensor.Scalar(1f));

        var error = Assert.Throws<ArgumentException>(() => model.Input("x", TensorElementType.Float32));

        Assert.Equal("the value 'x' of graph 'g' is defined twice", error.Message);
    }

    [Fact]
    public void A_tensor_has_as_many_values_as_its_dimensions_say()
    {
        var error = Assert.Throws<ArgumentException>(() => OnnxTensor.Of<float>([1, 2, 3], 2, 2));

        Assert.Equal("3 values for dimensions [2, 2], which hold 4", error.Message);
    }

    [Fact]
    public void Numbers_are_written_as_varints_and_negative_ones_take_ten_bytes()
    {
        Assert.Equal([0x08, 0xAC, 0x02], Bytes(new ProtoMessage().Varint(1, 300)));
        Assert.Equal([0x08, .. Enumerable.Repeat((byte)0xFF, 9), 0x01], Bytes(new ProtoMessage().Varint(1, -1)));
    }

    [Fact]
    public void A_message_inside_a_message_carries_its_length_however_large()
    {
        var inner = new ProtoMessage().Varint(1, 1).Bytes(2, new byte[1000]).Varint(3, 7);

        var bytes = Bytes(new ProtoMessage().Message(4, inner));

        Assert.Equal([0x22, 0xEF, 0x07, .. Bytes(inner)], bytes);
        Assert.Equal(1007, inner.Length);
    }

    private static byte[] Bytes(ProtoMessage message)
    {
        using var stream = new MemoryStream();
        message.WriteTo(stream);
        return stream.ToArray();
    }

    private static OnnxModel Identity()
    {
        var model = new OnnxModel("identity");
        model.Output(model.Node("Identity", [model.Input("x", TensorElementType.Int64, "n")], "y"), TensorElementType.Int64, "n");
        return model;
    }
}
