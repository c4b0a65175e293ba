using System.Buffers;
using System.Text;
using System.Text.Json;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class JournalFormTests
{
    public static TheoryData<Type> Facts => [.. Exemplar.KindsOf<Fact>()];

    public static TheoryData<Type> Decisions => [.. Exemplar.KindsOf<Decision>()];

    [Theory]
    [MemberData(nameof(Facts))]
    public void Every_kind_of_fact_has_a_form_that_reads_back_to_the_same(Type kind)
    {
        var written = Text(new JournalFact(12, (Fact)Exemplar.Of(kind)));

        var read = Assert.IsType<JournalFact>(JournalForm.Read(Encoding.UTF8.GetBytes(written)));

        Assert.Equal((12, kind), (read.Ticks, read.Fact.GetType()));
        Assert.Equal(written, Text(read));
    }

    [Theory]
    [MemberData(nameof(Facts))]
    public void Every_field_of_every_fact_is_written(Type kind)
    {
        var lines = Enumerable
            .Range(-1, Exemplar.FieldsOf(kind) + 1)
            .Select(changed => Text(new JournalFact(0, (Fact)Exemplar.Of(kind, changed))));

        Assert.Equal(Exemplar.FieldsOf(kind) + 1, lines.Distinct().Count());
    }

    [Theory]
    [MemberData(nameof(Decisions))]
    public void Every_kind_of_decision_has_a_name_and_reads_back_inside_a_fact(Type kind)
    {
        var decision = (Decision)Exemplar.Of(kind);
        Assert.Equal(kind, JournalNames.DecisionOf(JournalNames.Of(decision)!));
        var written = Text(new JournalFact(0, new EndingFailed(decision)));

        var read = (JournalFact)JournalForm.Read(Encoding.UTF8.GetBytes(written));

        Assert.Equal(kind, ((EndingFailed)read.Fact).Decision.GetType());
        Assert.Equal(written, Text(read));
    }

    [Fact]
    public void The_head_carries_every_option()
    {
        var heads = Enumerable
            .Range(-1, Exemplar.FieldsOf(typeof(PolicyOptions)) + 1)
            .Select(changed => Text(new JournalHead("1.2.3", 5, 7, (PolicyOptions)Exemplar.Of(typeof(PolicyOptions), changed))))
            .ToList();

        Assert.Equal(heads.Count, heads.Distinct().Count());
        Assert.All(heads, head => Assert.Equal(head, Text(JournalForm.ReadHead(Encoding.UTF8.GetBytes(head)))));
        Assert.StartsWith("""{"journal":1,"program":"1.2.3","started":5,"epoch":7,"options":{""", heads[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Plans_and_the_end_read_back()
    {
        JournalLine[] lines = [new JournalPlan(1, 0, null), new JournalPlan(2, 3, ulong.MaxValue - 1), new JournalEnd(3, "why")];

        Assert.Equal(lines, lines.Select(line => JournalForm.Read(Encoding.UTF8.GetBytes(Text(line)))));
        Assert.Equal("""{"t":2,"plan":3,"hash":"fffffffffffffffe"}""", Text(lines[1]));
    }

    [Fact]
    public void Numbers_come_back_to_the_bit()
    {
        var heard = new ModelProfileKnown(
            PolicyWorld.Model,
            PolicyWorld.Profile with
            {
                AlphaNs = 0.1 + 0.2,
                BetaNs = double.PositiveInfinity,
                BatchDrift = double.NaN,
            },
            new()
        );

        var read = (JournalFact)JournalForm.Read(Encoding.UTF8.GetBytes(Text(new JournalFact(0, heard))));

        Assert.Equal(heard.Profile! with { Points = [] }, ((ModelProfileKnown)read.Fact).Profile! with { Points = [] });
    }

    [Theory]
    [InlineData("nothing", "expected a JSON object")]
    [InlineData("[]", "field \"t\": expected a whole number, given []")]
    [InlineData("""{"t":"x","plan":1}""", "field \"t\": expected a whole number, given \"x\"")]
    [InlineData("""{"t":-1,"plan":1}""", "field \"t\": expected UTC ticks of a time")]
    [InlineData("""{"t":1}""", "field \"fact\": expected \"fact\", \"plan\" or \"end\"")]
    [InlineData("""{"t":1,"plan":-1}""", "field \"plan\": expected a count of decisions, given -1")]
    [InlineData("""{"t":1,"plan":1,"hash":"xyz"}""", "field \"hash\": expected 16 hexadecimal digits, given \"xyz\"")]
    [InlineData("""{"t":1,"fact":"moon_rose","data":{}}""", "field \"fact\": expected a kind of fact that version")]
    [InlineData("""{"t":1,"fact":"job_paused"}""", "field \"data\": expected an object")]
    [InlineData("""{"t":1,"fact":"job_paused","data":{}}""", "field \"data\": expected what version")]
    [InlineData("""{"t":1,"fact":"job_paused","data":{"job":"x"}}""", "field \"data.job\": expected what version")]
    [InlineData("""{"t":1,"fact":"job_paused","data":{"job":"x"}}""", "given \"x\"")]
    [InlineData("""{"t":1,"fact":"worker_expected","data":{"worker":null,"moon":1}}""", "field \"data.")]
    [InlineData(
        """{"t":1,"fact":"chunks_ended","data":{"chunks":[{"job":"00000000-0000-7000-8000-000000000001"}]}}""",
        "missing required properties including: 'no'"
    )]
    public void A_line_that_cannot_be_read_says_which_field_what_was_expected_and_what_was_given(string line, string message)
    {
        var e = Assert.Throws<JournalException>(() => JournalForm.Read(Encoding.UTF8.GetBytes(line)));

        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"t":1,"plan":1}""", "field \"journal\": expected the first line of a journal")]
    [InlineData("""{"journal":2}""", "replay it with the program that wrote it, given 2")]
    [InlineData("""{"journal":1,"program":"1","started":1,"epoch":1,"options":{"slices_max":"many"}}""", "field \"options.slices_max\"")]
    [InlineData("""{"journal":1,"program":"1","started":1,"epoch":1,"options":{"moon":1}}""", "field \"options.moon\"")]
    public void A_first_line_of_something_else_is_refused(string line, string message)
    {
        var e = Assert.Throws<JournalException>(() => JournalForm.ReadHead(Encoding.UTF8.GetBytes(line)));

        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    private static string Text(JournalLine line) => Text(json => JournalForm.Write(json, line));

    private static string Text(JournalHead head) => Text(json => JournalForm.Write(json, head));

    private static string Text(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer);
        write(json);
        json.Flush();
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}
