using System.Text;
using System.Text.RegularExpressions;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class GroupNameTests
{
    [Theory]
    [InlineData("a", true)]
    [InlineData("0198c2f4-7d1e-7000-8000-000000000000", true)]
    [InlineData("run:42_a.B-c", true)]
    [InlineData("", false)]
    [InlineData(".", false)]
    [InlineData("..", false)]
    [InlineData("-a", false)]
    [InlineData("a/b", false)]
    [InlineData("a b", false)]
    [InlineData("a\n", false)]
    [InlineData("é", false)]
    public void A_name_needs_no_escape_in_a_path(string name, bool valid)
    {
        Assert.Equal(valid, GroupName.IsValid(name));
        Assert.Equal(valid, GroupName.IsValid(Encoding.UTF8.GetBytes(name)));

        // In .NET alone $ also stands before a last line break.
        Assert.Equal(valid, Regex.IsMatch(name, GroupName.Pattern.Replace("$", "\\z", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_name_has_a_greatest_length()
    {
        Assert.True(GroupName.IsValid(new string('a', GroupName.LengthMax)));
        Assert.False(GroupName.IsValid(new string('a', GroupName.LengthMax + 1)));
    }
}
