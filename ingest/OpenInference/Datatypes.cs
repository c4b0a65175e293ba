using Pipeline.Contracts;

namespace Pipeline.Ingest.OpenInference;

/// <summary>
/// Element types by the protocol's names (Open Inference Protocol, "Tensor Data Types", and Triton's BF16). The two complex types have no
/// name there; they are told as COMPLEX64 and COMPLEX128 and travel as binary data only.
/// </summary>
internal static class Datatypes
{
    public static string Datatype(this TensorElementType type) =>
        type switch
        {
            TensorElementType.Float16 => "FP16",
            TensorElementType.Float32 => "FP32",
            TensorElementType.Float64 => "FP64",
            TensorElementType.BFloat16 => "BF16",
            TensorElementType.String => "BYTES",
            _ => type.Name().ToUpperInvariant(),
        };
}
