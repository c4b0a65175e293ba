using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models;

/// <summary>A model that cannot be used: every mistake found, each with its place, what was expected and what was given.</summary>
internal sealed class InvalidModelException : Exception
{
    public InvalidModelException(IReadOnlyList<ModelMistake> mistakes, Exception? cause = null)
        : base(string.Join(Environment.NewLine, mistakes), cause) => Mistakes = mistakes;

    public InvalidModelException(ModelMistake mistake, Exception? cause = null)
        : this([mistake], cause) { }

    /// <summary>At least one.</summary>
    public IReadOnlyList<ModelMistake> Mistakes { get; }

    public static FailureKind Kind => FailureKind.InvalidModel;
}

/// <param name="File">The file at fault, by its name.</param>
/// <param name="Field">The field of the manifest that says so, as a path: <c>inputs.bytes.batch_axis</c>. Empty when the file as a whole is meant.</param>
internal sealed record ModelMistake(string File, string Field, string Expected, string Given)
{
    public override string ToString() => $"{File}{(Field.Length > 0 ? $": {Field}" : "")}: expected {Expected}, given {Given}.";
}
