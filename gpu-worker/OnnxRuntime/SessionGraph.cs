using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>Reads from a native session what its model says about itself.</summary>
internal static unsafe class SessionGraph
{
    public static TensorInfo[] Inputs(nint session)
    {
        nuint count;
        OrtApi.Check(OrtApi.SessionGetInputCount(session, &count));
        return Read(session, count, OrtApi.SessionGetInputName, OrtApi.SessionGetInputTypeInfo);
    }

    public static TensorInfo[] Outputs(nint session)
    {
        nuint count;
        OrtApi.Check(OrtApi.SessionGetOutputCount(session, &count));
        return Read(session, count, OrtApi.SessionGetOutputName, OrtApi.SessionGetOutputTypeInfo);
    }

    public static Dictionary<string, string> Metadata(nint session)
    {
        nint native;
        OrtApi.Check(OrtApi.SessionGetModelMetadata(session, &native));
        using var metadata = new OrtHandle(native, OrtApi.ReleaseModelMetadata);
        var owner = native;
        return Keys(owner).ToDictionary(key => key, key => Lookup(owner, key));
    }

    private static TensorInfo[] Read(
        nint session,
        nuint count,
        delegate* unmanaged[Cdecl]<nint, nuint, nint, nint*, nint> getName,
        delegate* unmanaged[Cdecl]<nint, nuint, nint*, nint> getType
    )
    {
        var tensors = new TensorInfo[count];
        for (nuint i = 0; i < count; i++)
        {
            nint name;
            OrtApi.Check(getName(session, i, OrtApi.DefaultAllocator, &name));
            var text = OrtApi.TakeString(name);
            nint type;
            OrtApi.Check(getType(session, i, &type));
            using var typeInfo = new OrtHandle(type, OrtApi.ReleaseTypeInfo);
            tensors[i] = TensorInfo.Read(text, type);
        }
        return tensors;
    }

    private static string[] Keys(nint metadata)
    {
        nint keys;
        long count;
        OrtApi.Check(OrtApi.ModelMetadataGetKeys(metadata, OrtApi.DefaultAllocator, &keys, &count));
        if (keys == 0)
            return [];
        var pointers = new ReadOnlySpan<nint>((void*)keys, (int)count).ToArray();
        OrtApi.Check(OrtApi.AllocatorFree(OrtApi.DefaultAllocator, (void*)keys));
        return Array.ConvertAll(pointers, OrtApi.TakeString);
    }

    private static string Lookup(nint metadata, string key)
    {
        nint value;
        fixed (byte* name = OrtApi.Utf8(key))
            OrtApi.Check(OrtApi.ModelMetadataLookup(metadata, OrtApi.DefaultAllocator, name, &value));
        return OrtApi.TakeString(value);
    }
}
