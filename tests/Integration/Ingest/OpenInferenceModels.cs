using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>
/// Models as registration completes them: <c>mymodel</c> of the specification's examples, <c>echo</c> with an input and an output of every
/// datatype, <c>stack</c> whose batch is not the first axis, <c>row</c> with one input, <c>languages</c> and <c>vectors</c>, which take text.
/// </summary>
internal static class OpenInferenceModels
{
    public static readonly (string Datatype, string Type)[] Datatypes =
    [
        ("BOOL", "bool"),
        ("UINT8", "uint8"),
        ("UINT16", "uint16"),
        ("UINT32", "uint32"),
        ("UINT64", "uint64"),
        ("INT8", "int8"),
        ("INT16", "int16"),
        ("INT32", "int32"),
        ("INT64", "int64"),
        ("FP16", "float16"),
        ("BF16", "bfloat16"),
        ("FP32", "float32"),
        ("FP64", "float64"),
        ("BYTES", "string"),
    ];

    public static async Task AddAsync(IngestHost host)
    {
        await PutAsync(
            host,
            Model(
                "mymodel",
                [("input0", Spec(null, "uint32", 2, 2)), ("input1", Spec(null, "bool", 3))],
                [("output0", Spec(null, "float32", 3, 2))]
            )
        );
        var every = Datatypes.Select(d => (d.Datatype, Spec(0, d.Type, -1, 2))).ToArray();
        await PutAsync(host, Model("echo", every, every));
        await PutAsync(
            host,
            Model(
                "stack",
                [("state", Spec(1, "int32", 2, -1, -1)), ("rate", Spec(null, "int64"))],
                [("state", Spec(1, "int32", 2, -1, -1)), ("rate", Spec(null, "int64"))]
            )
        );
        await PutAsync(host, Model("row", [("cells", Spec(0, "int16", -1, 2, -1))], [("cells", Spec(0, "int16", -1, 2, -1))]));
        var text = TestModels.Words("1") with { Outputs = Named([("probabilities", Spec(0, "float32", -1, 10))]) };
        await PutAsync(
            host,
            text with
            {
                Name = "languages",
                Result = new ResultSpec { Type = ResultType.Labels, TopK = 3 },
            }
        );
        await PutAsync(
            host,
            text with
            {
                Name = "vectors",
                Outputs = Named([("tokens", Spec(0, "float32", -1, -1, 4))]),
                Result = new ResultSpec { Type = ResultType.Embedding, Pooling = Pooling.Mean },
            }
        );
    }

    private static Task PutAsync(IngestHost host, ModelManifest model) =>
        ModelRegistry.PutAsync(host.Database.DataSource, model, null, 1, makeCurrent: true);

    private static ModelManifest Model(string name, (string, TensorSpec)[] inputs, (string, TensorSpec)[] outputs) =>
        TestModels.Grid() with
        {
            Name = name,
            Inputs = Named(inputs),
            Outputs = Named(outputs),
        };

    private static Dictionary<string, TensorSpec> Named((string Name, TensorSpec Spec)[] tensors) =>
        tensors.ToDictionary(t => t.Name, t => t.Spec);

    private static TensorSpec Spec(int? axis, string type, params long[] shape) =>
        new()
        {
            BatchAxis = axis,
            Type = type,
            Shape = shape,
        };
}
