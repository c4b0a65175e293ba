using System.Buffers;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>All outputs as they are, packed.</summary>
internal sealed class RawResult : IResultMaker
{
    public TaskOutput Make(BatchOutputs outputs, int row)
    {
        var pack = new ArrayBufferWriter<byte>(256);
        PackedTensors.WriteCount(pack, outputs.Count);
        var scratch = (stackalloc long[outputs.RankMax]);
        for (var i = 0; i < outputs.Count; i++)
        {
            var plan = outputs.Plan(i);
            var shape = outputs.Shape(i, row, scratch);
            PackedTensors.WriteHeader(pack, plan.Name, plan.Type, shape);
            if (plan.Type == TensorElementType.String)
            {
                foreach (var text in outputs.Texts(i, row, shape))
                    PackedTensors.WriteString(pack, text.Span);
            }
            else
            {
                var bytes = checked(BatchOutputs.Elements(shape) * plan.Type.Size());
                outputs.CopyTo(pack.GetSpan(bytes), i, row, shape);
                pack.Advance(bytes);
            }
        }
        return new TaskOutput(pack.WrittenSpan.ToArray(), PackedTensors.ContentType);
    }
}
