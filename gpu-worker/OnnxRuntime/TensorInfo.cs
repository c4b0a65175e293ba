using System.Runtime.InteropServices;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// What a model says about one of its inputs or outputs. An output's shape is a promise that models break: read the value's own.
/// </summary>
/// <param name="Name">The name in the graph.</param>
/// <param name="Kind">A tensor, or something without an element type and a shape of its own.</param>
/// <param name="ElementType">Undefined unless <paramref name="Kind"/> is a tensor.</param>
/// <param name="Shape">One entry per axis; -1 is decided by each run. Empty for a scalar and for what is no tensor.</param>
/// <param name="SymbolicShape">The name of each axis, empty where it has none.</param>
internal sealed record TensorInfo(string Name, OnnxValueKind Kind, TensorElementType ElementType, long[] Shape, string[] SymbolicShape)
{
    /// <summary>Reads the description of an input or output; <paramref name="typeInfo"/> stays the caller's.</summary>
    internal static unsafe TensorInfo Read(string name, nint typeInfo)
    {
        int kind;
        OrtApi.Check(OrtApi.GetOnnxType(typeInfo, &kind));
        nint tensor;
        OrtApi.Check(OrtApi.CastTypeInfoToTensorInfo(typeInfo, &tensor));
        if (tensor == 0)
            return new TensorInfo(name, (OnnxValueKind)kind, TensorElementType.Undefined, [], []);

        var (elementType, shape) = ReadTensor(tensor);
        return new TensorInfo(name, (OnnxValueKind)kind, elementType, shape, ReadSymbolicShape(tensor, shape.Length));
    }

    /// <summary>Element type and shape out of the library's own description of a tensor.</summary>
    internal static unsafe (TensorElementType ElementType, long[] Shape) ReadTensor(nint tensor)
    {
        int elementType;
        OrtApi.Check(OrtApi.GetTensorElementType(tensor, &elementType));
        nuint rank;
        OrtApi.Check(OrtApi.GetDimensionsCount(tensor, &rank));
        var shape = new long[rank];
        fixed (long* dimensions = shape)
            OrtApi.Check(OrtApi.GetDimensions(tensor, dimensions, rank));
        return ((TensorElementType)elementType, shape);
    }

    private static unsafe string[] ReadSymbolicShape(nint tensor, int rank)
    {
        var pointers = new nint[rank];
        fixed (nint* names = pointers)
            OrtApi.Check(OrtApi.GetSymbolicDimensions(tensor, names, (nuint)rank));
        return Array.ConvertAll(pointers, pointer => Marshal.PtrToStringUTF8(pointer) ?? "");
    }
}
