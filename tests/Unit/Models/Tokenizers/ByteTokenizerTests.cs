using System.Text;
using Pipeline.GpuWorker.Models.Tokenizers;
using Xunit;

namespace Pipeline.Tests.Unit.Models.Tokenizers;

public sealed class ByteTokenizerTests
{
    [Theory]
    [InlineData("", 0, 1)]
    [InlineData("abc", 3, 3)]
    [InlineData("é", 2, 2)]
    [InlineData("abcdefghij", 8, 8)]
    public void Counts_bytes_up_to_the_longest_length(string text, int tokens, int units)
    {
        var task = new ByteTokenizer(8).Prepare(Encoding.UTF8.GetBytes(text));

        Assert.Equal((tokens, units), (task.Tokens, task.Units));
    }

    [Fact]
    public void Writes_the_bytes_themselves()
    {
        var to = new int[4];
        new ByteTokenizer(8).Prepare(Encoding.UTF8.GetBytes("aé")).Write<int>(to, step: 1);

        Assert.Equal(['a', 0xC3, 0xA9, 0], to);
    }
}
