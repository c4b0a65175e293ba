using System.Text;
using Pipeline.StarterModels.LanguageId;
using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class ByteRunsTests
{
    [Fact]
    public void Padding_adds_no_row()
    {
        var text = Encoding.UTF8.GetBytes("où êtes-vous ?");

        Assert.Equal(Rows(text), Rows([.. text, .. new byte[40]]));
    }

    [Fact]
    public void An_empty_text_touches_no_row() => Assert.Empty(Rows([]));

    [Fact]
    public void Every_order_has_rows_of_its_own()
    {
        var spec = LanguageIdSpec.Large;

        var orders = Rows("a"u8.ToArray()).Select(row => row >> spec.BucketBits);

        Assert.Equal([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], orders);
    }

    [Fact]
    public void Case_digits_and_punctuation_do_not_matter() => Assert.Equal(Rows("Room 17!"u8.ToArray()), Rows("rOOM 42."u8.ToArray()));

    private static List<int> Rows(byte[] text)
    {
        var rows = new List<int>();
        ByteRuns.Collect(LanguageIdSpec.Large, text, rows);
        return rows;
    }
}
