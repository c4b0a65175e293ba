using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class FailureKindTests
{
    [Fact]
    public void Every_kind_has_a_code_of_its_own()
    {
        var codes = Enum.GetValues<FailureKind>().Select(kind => kind.Info().Code).ToArray();

        Assert.Equal(codes.Length, codes.Distinct(StringComparer.Ordinal).Count());
        Assert.All(codes, code => Assert.Matches("^[a-z]+(_[a-z]+)*$", code));
    }

    [Fact]
    public void What_the_client_did_wrong_is_answered_with_4xx_and_the_rest_with_5xx() =>
        Assert.All(
            Enum.GetValues<FailureKind>(),
            kind => Assert.Equal(kind.Info().Fault == Fault.Client ? 4 : 5, kind.Info().HttpStatus / 100)
        );

    [Fact]
    public void Every_kind_is_told_in_words() => Assert.All(Enum.GetValues<FailureKind>(), kind => Assert.NotEmpty(kind.Info().Title));

    [Fact]
    public void Retrying_is_advised_where_a_server_was_away_and_never_for_bad_input()
    {
        Assert.True(FailureKind.Unavailable.Info().Retry);
        Assert.True(FailureKind.RateLimited.Info().Retry);
        Assert.False(FailureKind.InvalidInput.Info().Retry);
        Assert.False(FailureKind.ModelFailed.Info().Retry);
    }
}
