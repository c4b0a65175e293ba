using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class TraceHashTests
{
    public static TheoryData<Type> Decisions => [.. Exemplar.KindsOf<Decision>()];

    [Theory]
    [MemberData(nameof(Decisions))]
    public void Every_field_of_every_decision_counts(Type kind)
    {
        var hashes = Enumerable.Range(-1, Exemplar.FieldsOf(kind) + 1).Select(changed => HashOf((Decision)Exemplar.Of(kind, changed)));

        Assert.Equal(Exemplar.FieldsOf(kind) + 1, hashes.Distinct().Count());
    }

    [Fact]
    public void The_kind_counts() =>
        Assert.Equal(
            Exemplar.KindsOf<Decision>().Count(),
            Exemplar.KindsOf<Decision>().Select(kind => HashOf((Decision)Exemplar.Of(kind))).Distinct().Count()
        );

    [Fact]
    public void The_order_counts_and_so_does_how_often()
    {
        var (one, two) = ((Decision)Exemplar.Of(typeof(EndChunks)), (Decision)Exemplar.Of(typeof(EndChunks), 0));

        Assert.Equal(4, new[] { HashOf(one, two), HashOf(two, one), HashOf(one), HashOf(one, one) }.Distinct().Count());
        Assert.Equal(HashOf(one, two), HashOf(one, two));
    }

    [Fact]
    public void A_kind_nobody_knows_counts_by_its_name_and_reason() =>
        Assert.NotEqual(HashOf(new Unheard(new Why("a"))), HashOf(new Unheard(new Why("b"))));

    private static ulong HashOf(params Decision[] decisions)
    {
        var hash = new TraceHash();
        hash.Add(decisions);
        return hash.Value;
    }

    private sealed record Unheard(Why Why) : Decision(Why);
}
