using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.OpenAi;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Unit.OpenAi;

public sealed class ResponseBodyTests
{
    [Theory]
    [InlineData(null, true, new[] { 0.6f, 0f, 0.8f, 0f })]
    [InlineData(4, true, new[] { 0.6f, 0f, 0.8f, 0f })]
    [InlineData(2, true, new[] { 1f, 0f })]
    [InlineData(2, false, new[] { 0.6f, 0f })]
    public void A_shortened_embedding_is_its_front_and_of_unit_length_where_the_models_are(
        int? dimensions,
        bool normalize,
        float[] expected
    )
    {
        var asFloats = Embedding(dimensions, normalize, base64: false).EnumerateArray().Select(x => x.GetSingle());
        var packed = Embedding(dimensions, normalize, base64: true).GetBytesFromBase64();

        Assert.Equal(expected, asFloats);
        Assert.Equal(expected, MemoryMarshal.Cast<byte, float>(packed).ToArray());
    }

    private static JsonElement Embedding(int? dimensions, bool normalize, bool base64)
    {
        var pack = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(pack, 1);
        PackedTensors.WriteTensor(pack, "embedding", TensorElementType.Float32, [4], MemoryMarshal.AsBytes<float>([0.6f, 0f, 0.8f, 0f]));
        var model = Manifest(normalize);
        var request = new RequestBody(model.Name, [], IsList: false, base64, dimensions, ServiceTier: null);
        using var reply = new MemoryStream();
        using (var json = new Utf8JsonWriter(reply))
        {
            StoredOutput[] outputs = [new(pack.WrittenSpan.ToArray(), PackedTensors.ContentType)];
            ResponseBody.Write(json, Endpoints.Embeddings, request, model, outputs, units: 1, LatencyClass.Express, "id");
        }

        return JsonElement.Parse(reply.ToArray()).GetProperty("data")[0].GetProperty("embedding");
    }

    private static ModelManifest Manifest(bool normalize) =>
        Describe(
            ModelKind.Text,
            new() { ["ids"] = Along(0) },
            new() { ["embedding"] = Along(0) },
            new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 64 },
            new ResultSpec { Type = ResultType.Embedding, Normalize = normalize },
            new LimitSpec(),
            "encoder"
        );
}
