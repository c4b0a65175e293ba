using System.Text;
using Pipeline.Ingest.Tasks;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class RepeatedInputsTests
{
    [Fact]
    public void The_first_task_with_the_input_is_named_however_many_follow()
    {
        var inputs = new RepeatedInputs(1000);

        Assert.Null(inputs.FirstOf("a"u8, 0));
        Assert.Null(inputs.FirstOf("b"u8, 1));
        Assert.Equal(0, inputs.FirstOf("a"u8, 2));
        Assert.Equal(0, inputs.FirstOf("a"u8, 3));
        Assert.Equal(1, inputs.FirstOf("b"u8, 4));
        Assert.Null(inputs.FirstOf([], 5));
        Assert.Equal(5, inputs.FirstOf([], 6));
    }

    [Fact]
    public void Beyond_its_bound_inputs_are_only_compared_with_those_remembered()
    {
        var inputs = new RepeatedInputs(2);

        Assert.Equal(
            [null, null, null, 0, null, 1],
            new[] { "a", "b", "c", "a", "c", "b" }.Select((text, seq) => inputs.FirstOf(Encoding.UTF8.GetBytes(text), seq))
        );
        Assert.Null(new RepeatedInputs(0).FirstOf("a"u8, 0));
    }

    [Fact]
    public void An_input_is_compared_by_the_first_half_of_its_SHA_256()
    {
        var sha = System.Security.Cryptography.SHA256.HashData("text"u8);

        Assert.Equal(BitConverter.ToUInt128(sha), RepeatedInputs.Hash("text"u8));
    }
}
