using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class IdsTests
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 2, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Ids_born_later_compare_greater()
    {
        var ids = Enumerable.Range(0, 100).Select(ms => JobId.New(Noon.AddMilliseconds(ms))).ToArray();

        Assert.Equal(ids, ids.Order());
        Assert.True(ids[0] < ids[1] && ids[1] > ids[0] && ids[0] <= ids[1] && ids[1] >= ids[0]);
    }

    [Fact]
    public void Ids_compare_as_their_text_does_which_is_how_PostgreSQL_orders_uuid()
    {
        var random = new Random(20260102);
        var ids = Enumerable.Range(0, 500).Select(_ => new JobId(NextGuid(random))).ToArray();

        Assert.Equal(ids.OrderBy(id => id.ToString(), StringComparer.Ordinal), ids.Order());
    }

    [Fact]
    public void A_job_id_carries_its_birth_in_the_first_48_bits()
    {
        var bytes = JobId.New(Noon).Value.ToByteArray(bigEndian: true);
        var milliseconds = Convert.ToInt64(Convert.ToHexString(bytes.AsSpan(0, 6)), 16);

        Assert.Equal(Noon.ToUnixTimeMilliseconds(), milliseconds);
        Assert.Equal(7, bytes[6] >> 4);
    }

    [Fact]
    public void A_job_id_is_read_back_from_its_text()
    {
        var id = JobId.New(Noon);

        Assert.True(JobId.TryParse(id.ToString(), out var back));
        Assert.Equal(id, back);
        Assert.False(JobId.TryParse("not-an-id", out _));
        Assert.False(JobId.TryParse(null, out _));
    }

    [Fact]
    public void Every_kind_of_id_is_a_plain_string_in_JSON()
    {
        AssertString(JobId.New(Noon));
        AssertString(TenantId.New(Noon));
        AssertString(DispatchId.New(Noon));
        AssertString(BatchId.New(Noon));
        AssertString(WorkerId.New(Noon));

        static void AssertString<T>(T id)
            where T : struct, IEntityId<T>
        {
            var json = JsonSerializer.Serialize(id);
            Assert.Equal($"\"{id.Value}\"", json);
            Assert.Equal(id, JsonSerializer.Deserialize<T>(json));
        }
    }

    [Fact]
    public void Chunks_of_a_job_follow_its_id_and_then_their_number()
    {
        var (first, second) = (JobId.New(Noon), JobId.New(Noon.AddSeconds(1)));
        ChunkKey[] keys = [new(first, 0), new(first, 1), new(first, 10), new(second, 0)];

        Assert.Equal(keys, keys.Reverse().Order());
        Assert.True(keys[0] < keys[1] && keys[3] > keys[2] && keys[0] <= keys[0] && keys[0] >= keys[0]);
    }

    [Fact]
    public void A_model_reference_is_name_at_version()
    {
        var model = ModelRef.Parse("org/language-id@1.0.0");

        Assert.Equal(new ModelRef("org/language-id", "1.0.0"), model);
        Assert.Equal("org/language-id@1.0.0", model.ToString());
        Assert.Equal(model, JsonSerializer.Deserialize<ModelRef>(JsonSerializer.Serialize(model)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("language-id")]
    [InlineData("@1.0.0")]
    [InlineData("language-id@")]
    public void A_model_reference_without_both_halves_is_refused(string text)
    {
        var error = Assert.Throws<FormatException>(() => ModelRef.Parse(text));

        Assert.Contains($"\"{text}\"", error.Message, StringComparison.Ordinal);
    }

    private static Guid NextGuid(Random random)
    {
        var bytes = new byte[16];
        random.NextBytes(bytes);
        return new Guid(bytes);
    }
}
