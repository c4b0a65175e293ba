using Pipeline.Ingest.Express;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public class InferStreamTests
{
    [Fact]
    public void Nothing_was_sent_to_a_reader_that_comes_first() => Assert.Equal(new bool[9], InferStream.ParseId("", 9)!);

    [Fact]
    public void An_id_says_which_results_were_sent() =>
        Assert.Equal([true, false, true, false, false, false, false, false, true], InferStream.ParseId("0501", 9)!);

    [Theory]
    [InlineData("05")]
    [InlineData("050100")]
    [InlineData("zz01")]
    [InlineData("050")]
    public void What_is_no_id_of_this_inference_is_told(string id) => Assert.Null(InferStream.ParseId(id, 9));
}
