using System.Runtime.InteropServices;
using System.Text;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// A value that goes into a model or comes out of it: a tensor, or a sequence or map of values. Tensors made here lie over the caller's
/// memory and are never copied; tensors that a run made own theirs.
/// </summary>
internal sealed unsafe class OrtValue : IDisposable
{
    private readonly OrtHandle _handle;
    private TensorDescription? _tensor;

    private OrtValue(nint value, SafeHandle? memory = null) => _handle = new OrtHandle(value, OrtApi.ReleaseValue, memory);

    /// <summary>
    /// A tensor over <paramref name="byteLength"/> bytes at <paramref name="data"/>, row by row. The caller keeps that memory alive and
    /// in place until the value is disposed and no binding holds it; what is written there later is what the next run reads.
    /// </summary>
    /// <exception cref="OnnxRuntimeException">The shape needs more bytes, or the type is none that lies in plain memory.</exception>
    public static OrtValue FromMemory(TensorElementType elementType, ReadOnlySpan<long> shape, nint data, long byteLength) =>
        FromMemory(elementType, shape, data, byteLength, memory: null);

    /// <summary>A string tensor; the texts are copied. A text is UTF-8 without NUL, where the C API would end it.</summary>
    /// <exception cref="ArgumentException">A text holds NUL, or there are more or fewer texts than the shape says.</exception>
    public static OrtValue Strings(ReadOnlySpan<long> shape, IEnumerable<ReadOnlyMemory<byte>> utf8)
    {
        var texts = Utf8Texts.Pack(utf8);
        if (texts.Count != ElementCount(shape))
            throw new ArgumentException(
                $"The shape [{string.Join(", ", shape.ToArray())}] has {ElementCount(shape)} elements; given {texts.Count}."
            );

        nint value;
        fixed (long* dimensions = shape)
            OrtApi.Check(
                OrtApi.CreateTensor(OrtApi.DefaultAllocator, dimensions, (nuint)shape.Length, (int)TensorElementType.String, &value)
            );
        var tensor = new OrtValue(value);
        try
        {
            texts.Fill(value);
            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>Tensor, sequence, map, and so on.</summary>
    public OnnxValueKind Kind
    {
        get
        {
            using var value = _handle.Borrow();
            int kind;
            OrtApi.Check(OrtApi.GetValueType(value.Value, &kind));
            return (OnnxValueKind)kind;
        }
    }

    /// <summary>What the elements are; tensors only.</summary>
    public TensorElementType ElementType => Tensor.ElementType;

    /// <summary>The true shape, without unknowns; tensors only.</summary>
    public ReadOnlySpan<long> Shape => Tensor.Shape;

    /// <summary>How many elements the shape has; tensors only.</summary>
    public long Count => ElementCount(Tensor.Shape);

    /// <summary>The elements where they lie, little-endian, row by row; valid until the value is disposed. Not for strings.</summary>
    public Span<byte> Bytes
    {
        get
        {
            if (ElementType == TensorElementType.String)
                throw new InvalidOperationException("A string tensor has no plain bytes; read its strings.");
            using var value = _handle.Borrow();
            nint data;
            OrtApi.Check(OrtApi.GetTensorData(value.Value, &data));
            return new Span<byte>((void*)data, checked((int)(Count * ElementType.Size())));
        }
    }

    /// <summary>The elements as <typeparamref name="T"/>, which must be as large as the tensor's own; valid until the value is disposed.</summary>
    public Span<T> Elements<T>()
        where T : unmanaged =>
        sizeof(T) == ElementType.Size()
            ? MemoryMarshal.Cast<byte, T>(Bytes)
            : throw new InvalidOperationException($"A {ElementType.Name()} tensor is not made of {typeof(T).Name}.");

    /// <summary>The texts of a string tensor as UTF-8, row by row.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Utf8Strings()
    {
        if (ElementType != TensorElementType.String)
            throw new InvalidOperationException($"A {ElementType.Name()} tensor has no strings.");
        using var value = _handle.Borrow();
        return Utf8Texts.Read(value.Value, checked((int)Count));
    }

    /// <summary>The texts of a string tensor, row by row.</summary>
    public string[] StringElements() => [.. Utf8Strings().Select(text => Encoding.UTF8.GetString(text.Span))];

    /// <summary>How many values a sequence has; 2 for a map, its keys and its values.</summary>
    /// <exception cref="OnnxRuntimeException">The value is neither.</exception>
    public int ItemCount
    {
        get
        {
            using var value = _handle.Borrow();
            nuint count;
            OrtApi.Check(OrtApi.GetValueCount(value.Value, &count));
            return checked((int)count);
        }
    }

    /// <summary>A copy of one value of a sequence; of a map, 0 is the tensor of keys and 1 the tensor of values.</summary>
    /// <exception cref="OnnxRuntimeException">The value is neither, or has fewer.</exception>
    public OrtValue Item(int index)
    {
        using var value = _handle.Borrow();
        nint item;
        OrtApi.Check(OrtApi.GetValue(value.Value, index, OrtApi.DefaultAllocator, &item));
        return new OrtValue(item);
    }

    public void Dispose() => _handle.Dispose();

    internal OrtHandle Handle => _handle;

    /// <summary>Takes over a value that the library made, which may lie over <paramref name="memory"/> of somebody else.</summary>
    internal static OrtValue Own(nint value, SafeHandle? memory = null) => new(value, memory);

    /// <summary>As the public one; the value also keeps <paramref name="memory"/> from being freed.</summary>
    internal static OrtValue FromMemory(
        TensorElementType elementType,
        ReadOnlySpan<long> shape,
        nint data,
        long byteLength,
        SafeHandle? memory
    )
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        nint value;
        using var cpu = CpuMemory.Describe();
        using var info = cpu.Borrow();
        fixed (long* dimensions = shape)
            OrtApi.Check(
                OrtApi.CreateTensorOverMemory(
                    info.Value,
                    (void*)data,
                    (nuint)byteLength,
                    dimensions,
                    (nuint)shape.Length,
                    (int)elementType,
                    &value
                )
            );
        return new OrtValue(value, memory) { _tensor = new TensorDescription(elementType, shape.ToArray()) };
    }

    private TensorDescription Tensor => _tensor ??= DescribeTensor();

    private TensorDescription DescribeTensor()
    {
        if (Kind != OnnxValueKind.Tensor)
            throw new InvalidOperationException($"The value is a {Kind}, not a tensor; read its items.");
        using var value = _handle.Borrow();
        nint info;
        OrtApi.Check(OrtApi.GetTensorTypeAndShape(value.Value, &info));
        using var description = new OrtHandle(info, OrtApi.ReleaseTensorInfo);
        var (elementType, shape) = TensorInfo.ReadTensor(info);
        return new TensorDescription(elementType, shape);
    }

    private static long ElementCount(ReadOnlySpan<long> shape)
    {
        var count = 1L;
        foreach (var dimension in shape)
            count = checked(count * dimension);
        return count;
    }

    private sealed record TensorDescription(TensorElementType ElementType, long[] Shape);
}
