using System.Buffers.Binary;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Support.Models;

/// <summary>
/// A published model with known answers, from <c>shared/models</c> beside the checkout: <c>model.onnx</c>, and <c>cases.json</c> that
/// points into files of raw little-endian tensors. Tests skip where the folder is absent.
/// </summary>
internal sealed class PublishedModel
{
    private readonly string _folder;

    private PublishedModel(string folder) => _folder = folder;

    public string Path => System.IO.Path.Combine(_folder, "model.onnx");

    public static PublishedModel Find(string name)
    {
        var checkout = new DirectoryInfo(AppContext.BaseDirectory);
        while (checkout is not null && !File.Exists(System.IO.Path.Combine(checkout.FullName, "Pipeline.sln")))
            checkout = checkout.Parent;
        var folder = System.IO.Path.Combine(checkout?.Parent?.FullName ?? "", "shared", "models", name);
        if (!Directory.Exists(folder))
            Assert.Skip($"The published model {name} is not beside the checkout (../shared/models/{name}).");
        return new PublishedModel(folder);
    }

    public IReadOnlyList<PublishedCase> Cases(int countMax = int.MaxValue)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(System.IO.Path.Combine(_folder, "cases.json")));
        return [.. document.RootElement.GetProperty("cases").EnumerateArray().Take(countMax).Select(ReadCase)];
    }

    private PublishedCase ReadCase(JsonElement element) =>
        new(
            element.GetProperty("id").GetString()!,
            element.GetProperty("inputs").EnumerateObject().ToDictionary(input => input.Name, input => ReadTensor(input.Value)),
            element.GetProperty("expect").EnumerateObject().Where(IsTensor).ToDictionary(o => o.Name, o => ReadTensor(o.Value)),
            element.GetProperty("atol").GetDouble()
        );

    private static bool IsTensor(JsonProperty output) => output.Value.TryGetProperty("dtype", out _);

    private PublishedTensor ReadTensor(JsonElement element)
    {
        Assert.True(TensorElementTypes.TryParse(element.GetProperty("dtype").GetString()!, out var type));
        long[] shape = [.. element.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())];
        return new PublishedTensor(type, shape, ReadBytes(element), ReadSamples(element));
    }

    private byte[] ReadBytes(JsonElement element)
    {
        if (!element.TryGetProperty("file", out var file))
            return [];
        using var stream = File.OpenRead(System.IO.Path.Combine(_folder, file.GetString()!));
        stream.Position = element.GetProperty("offset").GetInt64();
        var bytes = new byte[element.GetProperty("bytes").GetInt32()];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static Dictionary<int, double> ReadSamples(JsonElement element) =>
        element.TryGetProperty("samples", out var samples)
            ? samples.EnumerateArray().ToDictionary(pair => pair[0].GetInt32(), pair => pair[1].GetDouble())
            : [];
}

/// <param name="Id">Its name in <c>cases.json</c>.</param>
/// <param name="Inputs">One item, with a batch axis of 1.</param>
/// <param name="Expected">The outputs that are tensors.</param>
/// <param name="Tolerance">The largest absolute difference that counts as equal.</param>
internal sealed record PublishedCase(
    string Id,
    IReadOnlyDictionary<string, PublishedTensor> Inputs,
    IReadOnlyDictionary<string, PublishedTensor> Expected,
    double Tolerance
);

/// <param name="Bytes">All elements; empty for a large output, of which there are only <paramref name="Samples"/>.</param>
/// <param name="Samples">Elements by their flat index.</param>
internal sealed record PublishedTensor(TensorElementType ElementType, long[] Shape, byte[] Bytes, IReadOnlyDictionary<int, double> Samples)
{
    public IEnumerable<(int Index, double Value)> Elements =>
        Bytes.Length > 0
            ? Enumerable.Range(0, Bytes.Length / ElementType.Size()).Select(i => (i, Read(Bytes, ElementType, i)))
            : Samples.Select(sample => (sample.Key, sample.Value));

    public static double Read(ReadOnlySpan<byte> bytes, TensorElementType type, int index)
    {
        var element = bytes[(index * type.Size())..];
        return type switch
        {
            TensorElementType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(element),
            TensorElementType.Float16 => (double)BinaryPrimitives.ReadHalfLittleEndian(element),
            TensorElementType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(element),
            _ => throw new InvalidOperationException($"No published model gives {type.Name()}."),
        };
    }
}
