using System.Buffers.Binary;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>
/// Stacks named tensors, each along its own batch axis. Dimensions that differ from task to task are filled up where the manifest
/// gives a <c>pad</c>; elsewhere only tasks of equal shapes share a batch. Inputs without a batch axis are shared: only tasks that
/// bring the same bytes share a batch.
/// </summary>
internal sealed class TensorInputs : IBatchInputs
{
    private readonly TensorInput[] _inputs;
    private readonly string[] _paddedSymbols;

    private TensorInputs(TensorInput[] inputs, string[] paddedSymbols)
    {
        _inputs = inputs;
        _paddedSymbols = paddedSymbols;
        Names = [.. inputs.Select(input => input.Name)];
    }

    public string[] Names { get; }

    public IReadOnlyList<string> PaddedSymbols => _paddedSymbols;

    public static TensorInputs Create(ModelManifest manifest)
    {
        string[] symbols =
        [
            .. manifest
                .Inputs.Values.Where(IsPadded)
                .SelectMany(spec => spec.Symbols!.Where((name, dim) => name.Length > 0 && dim != spec.BatchAxis && spec.Shape![dim] < 0))
                .Distinct(),
        ];
        return new TensorInputs([.. manifest.Inputs.Select(entry => Read(entry.Key, entry.Value, symbols))], symbols);
    }

    public PreparedTask Prepare(ReadOnlyMemory<byte> input)
    {
        var given = ReadPack(input);
        var tensors = new PackedTensor[_inputs.Length];
        var sizes = new long[_paddedSymbols.Length];
        sizes.AsSpan().Fill(-1);
        var key = new ShapeKey();
        var units = 0L;
        for (var i = 0; i < _inputs.Length; i++)
        {
            var wanted = _inputs[i];
            var tensor = given.FirstOrDefault(tensor => tensor.Name == wanted.Name) ?? throw Missing(wanted, given);
            tensors[i] = tensor;
            Check(wanted, tensor, sizes);
            if (wanted.BatchAxis is null)
                key.Add(tensor.Data.Span);
            else
                units += tensor.Elements;
            if (!wanted.Pads)
                foreach (var dim in wanted.DynamicDims)
                    key.Add(tensor.Shape[dim]);
        }

        if (given.Count > _inputs.Length)
            throw new TaskInputException(
                $"Expected the tensors {string.Join(", ", Names)}, given {string.Join(", ", given.Select(t => t.Name))}."
            );
        return new TensorTask(tensors, sizes) { Units = (int)Math.Clamp(units, 1, int.MaxValue), ShapeKey = key.Value };
    }

    public BatchTensors Pack(ReadOnlySpan<PreparedTask> tasks, int deviceRows, TensorBufferPool pool)
    {
        var values = new OrtValue[_inputs.Length];
        var buffers = new TensorBuffer?[_inputs.Length];
        var units = 0L;
        var sizes = new long[tasks.Length * _paddedSymbols.Length];
        for (var row = 0; row < tasks.Length; row++)
            ((TensorTask)tasks[row]).Sizes.CopyTo(sizes, row * _paddedSymbols.Length);
        try
        {
            for (var i = 0; i < _inputs.Length; i++)
            {
                var shape = BatchShape(i, tasks, deviceRows);
                if (_inputs[i].BatchAxis is not null)
                    units += Elements(shape) / deviceRows;
                values[i] = Stack(i, tasks, shape, deviceRows, pool, ref buffers[i]);
            }
            return new BatchTensors(values, buffers) { RowUnits = Math.Max(1, units), Sizes = sizes };
        }
        catch
        {
            new BatchTensors(values, buffers) { RowUnits = 0, Sizes = [] }.Dispose();
            throw;
        }
    }

    private static IReadOnlyList<PackedTensor> ReadPack(ReadOnlyMemory<byte> input)
    {
        try
        {
            return PackedTensors.Read(input);
        }
        catch (Exception failure) when (failure is InvalidDataException or OverflowException or ArgumentException)
        {
            throw new TaskInputException($"Expected a pack of tensors, given {input.Length} bytes that are none.");
        }
    }

    private TaskInputException Missing(TensorInput wanted, IReadOnlyList<PackedTensor> given) =>
        new(
            $"Expected the tensors {string.Join(", ", Names)}, given {string.Join(", ", given.Select(t => t.Name))}: {wanted.Name} is missing."
        );

    private void Check(TensorInput wanted, PackedTensor tensor, long[] sizes)
    {
        if (tensor.Type != wanted.Type)
            throw new TaskInputException($"{wanted.Name}: expected {wanted.Type.Name()}, given {tensor.Type.Name()}.");
        var fits = tensor.Shape.Length == wanted.TaskShape.Length;
        for (var dim = 0; fits && dim < tensor.Shape.Length; dim++)
            fits = wanted.TaskShape[dim] < 0 ? tensor.Shape[dim] > 0 : tensor.Shape[dim] == wanted.TaskShape[dim];
        if (!fits)
            throw new TaskInputException(
                $"{wanted.Name}: expected the shape {wanted.ShowShape()}, given [{string.Join(", ", tensor.Shape)}]."
            );
        if (tensor.Type == TensorElementType.String && tensor.Data.Span.Contains((byte)0) && ReadStrings(tensor).Any(HoldsNul))
            throw new TaskInputException($"{wanted.Name}: expected texts without NUL characters, given one that has some.");

        for (var dim = 0; dim < tensor.Shape.Length; dim++)
        {
            if (wanted.SymbolOf[dim] is not (>= 0 and var symbol))
                continue;
            if (sizes[symbol] >= 0 && sizes[symbol] != tensor.Shape[dim])
                throw new TaskInputException(
                    $"{wanted.Name}: expected {sizes[symbol]} along {_paddedSymbols[symbol]} as in the tensors before, given {tensor.Shape[dim]}."
                );
            sizes[symbol] = tensor.Shape[dim];
        }

        static bool HoldsNul(ReadOnlyMemory<byte> text) => text.Span.Contains((byte)0);
    }

    /// <summary>The longest task's size in every dimension, and the rows at the batch axis.</summary>
    private long[] BatchShape(int input, ReadOnlySpan<PreparedTask> tasks, int deviceRows)
    {
        var shape = (long[])((TensorTask)tasks[0]).Tensors[input].Shape.Clone();
        var (name, pads) = (_inputs[input].Name, _inputs[input].Pads);
        foreach (var task in tasks[1..])
        {
            var other = ((TensorTask)task).Tensors[input].Shape;
            if (!pads && !other.AsSpan().SequenceEqual(shape))
                throw new ArgumentException($"Tasks whose {name} has different shapes cannot share a batch.", nameof(tasks));
            for (var dim = 0; dim < shape.Length; dim++)
                shape[dim] = Math.Max(shape[dim], other[dim]);
        }
        return _inputs[input].BatchAxis is { } axis ? [.. shape[..axis], deviceRows, .. shape[axis..]] : shape;
    }

    private OrtValue Stack(
        int input,
        ReadOnlySpan<PreparedTask> tasks,
        long[] shape,
        int deviceRows,
        TensorBufferPool pool,
        ref TensorBuffer? buffer
    )
    {
        var spec = _inputs[input];
        if (spec.BatchAxis is null)
            RequireShared(spec, input, tasks);
        if (spec.Type == TensorElementType.String)
            return StackStrings(spec, input, tasks, shape, deviceRows);

        var size = spec.Type.Size();
        var bytes = checked((int)(Elements(shape) * size));
        buffer = pool.Rent(bytes);
        var memory = buffer.Bytes[..bytes];
        if (spec.BatchAxis is not { } axis)
        {
            ((TensorTask)tasks[0]).Tensors[input].Data.Span.CopyTo(memory);
            return buffer.AsValue(spec.Type, shape);
        }

        var scratch = (stackalloc long[2 * (shape.Length - 1)]);
        var filled = false;
        for (var row = 0; row < deviceRows; row++)
        {
            var tensor = ((TensorTask)tasks[Math.Min(row, tasks.Length - 1)]).Tensors[input];
            if (spec.Pads && !filled && !IsWhole(tensor.Shape, shape, axis))
            {
                // From here on rows may be short. Rows before it were whole; they are written again.
                PadElement.Fill(memory, spec.Pad);
                filled = true;
                row = -1;
                continue;
            }
            var data = tensor.Data.Span;
            var blocks = new TaskBlocks(tensor.Shape, shape, axis, row, scratch);
            while (blocks.MoveNext())
                data.Slice(blocks.InTask * size, blocks.Length * size).CopyTo(memory[(blocks.InBatch * size)..]);
        }
        return buffer.AsValue(spec.Type, shape);
    }

    private static OrtValue StackStrings(TensorInput spec, int input, ReadOnlySpan<PreparedTask> tasks, long[] shape, int deviceRows)
    {
        if (spec.BatchAxis is not { } axis)
            return OrtValue.Strings(shape, ReadStrings(((TensorTask)tasks[0]).Tensors[input]));
        var texts = new ReadOnlyMemory<byte>[Elements(shape)];
        var scratch = (stackalloc long[2 * (shape.Length - 1)]);
        for (var row = 0; row < deviceRows; row++)
        {
            var tensor = ((TensorTask)tasks[Math.Min(row, tasks.Length - 1)]).Tensors[input];
            var own = ReadStrings(tensor);
            var blocks = new TaskBlocks(tensor.Shape, shape, axis, row, scratch);
            while (blocks.MoveNext())
                own.AsSpan(blocks.InTask, blocks.Length).CopyTo(texts.AsSpan(blocks.InBatch));
        }
        return OrtValue.Strings(shape, texts);
    }

    private static void RequireShared(TensorInput spec, int input, ReadOnlySpan<PreparedTask> tasks)
    {
        var first = ((TensorTask)tasks[0]).Tensors[input].Data.Span;
        foreach (var task in tasks[1..])
            if (!((TensorTask)task).Tensors[input].Data.Span.SequenceEqual(first))
                throw new ArgumentException($"Tasks that bring a different {spec.Name} cannot share a batch.", nameof(tasks));
    }

    private static bool IsWhole(long[] task, long[] batch, int axis)
    {
        for (var dim = 0; dim < task.Length; dim++)
            if (task[dim] != batch[dim < axis ? dim : dim + 1])
                return false;
        return true;
    }

    private static ReadOnlyMemory<byte>[] ReadStrings(PackedTensor tensor)
    {
        var texts = new ReadOnlyMemory<byte>[tensor.Elements];
        var at = 0;
        for (var i = 0; i < texts.Length; i++)
        {
            Varint.TryRead(tensor.Data.Span, ref at, out var length);
            texts[i] = tensor.Data.Slice(at, (int)length);
            at += (int)length;
        }
        return texts;
    }

    private static bool IsPadded(TensorSpec spec) => spec is { Pad: not null, BatchAxis: not null };

    private static long Elements(long[] shape) => shape.Aggregate(1L, (product, dim) => product * dim);

    private static TensorInput Read(string name, TensorSpec spec, string[] paddedSymbols)
    {
        var type = spec.ElementType();
        long[] shape = [.. spec.TaskShape()];
        string[] symbols = [.. spec.Symbols!.Where((_, dim) => dim != spec.BatchAxis)];
        return new TensorInput(
            name,
            type,
            spec.BatchAxis,
            shape,
            [.. Enumerable.Range(0, shape.Length).Where(dim => shape[dim] < 0)],
            [.. shape.Select((dim, i) => dim < 0 ? Array.IndexOf(paddedSymbols, symbols[i]) : -1)],
            IsPadded(spec),
            PadElement.Create(type, spec.Pad ?? 0)
        );
    }

    /// <param name="TaskShape">Shape of a task's tensor, −1 where it is free.</param>
    /// <param name="DynamicDims">Where it is free.</param>
    /// <param name="SymbolOf">For each dimension its number among the padded symbols, or −1.</param>
    private sealed record TensorInput(
        string Name,
        TensorElementType Type,
        int? BatchAxis,
        long[] TaskShape,
        int[] DynamicDims,
        int[] SymbolOf,
        bool Pads,
        byte[] Pad
    )
    {
        public string ShowShape() => $"[{string.Join(", ", TaskShape.Select(dim => dim < 0 ? "any" : $"{dim}"))}]";
    }

    private sealed class TensorTask(PackedTensor[] tensors, long[] sizes) : PreparedTask
    {
        /// <summary>In the order of the inputs.</summary>
        public PackedTensor[] Tensors => tensors;

        public long[] Sizes => sizes;
    }

    /// <summary>FNV-1a over what must be equal among the tasks of a batch. A collision is found when the batch is packed.</summary>
    private struct ShapeKey()
    {
        private const ulong Basis = 14695981039346656037;
        private const ulong Prime = 1099511628211;
        private ulong _hash = Basis;

        /// <summary>0 when nothing was added: any two tasks stack.</summary>
        public readonly long Value => (long)(_hash == Basis ? 0 : _hash);

        public void Add(long number)
        {
            Span<byte> bytes = stackalloc byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
            Add(bytes);
        }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            foreach (var next in bytes)
                _hash = (_hash ^ next) * Prime;
        }
    }
}
