using System.Globalization;
using System.Text;
using Pipeline.GpuWorker.Models.Results;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class ScoreTextTests
{
    [Theory]
    [InlineData(0f, "0")]
    [InlineData(1f, "1")]
    [InlineData(0.98f, "0.98")]
    [InlineData(0.9999999f, "1")]
    [InlineData(0.123456789f, "0.123457")]
    [InlineData(0.00123456789f, "0.00123457")]
    [InlineData(0.0001f, "0.0001")]
    [InlineData(0.000123456789f, "0.000123457")]
    [InlineData(-12.5f, "-12.5")]
    [InlineData(10f, "10")]
    [InlineData(123456.7f, "123457")]
    [InlineData(999999.9f, "1000000")]
    [InlineData(100f, "100")]
    [InlineData(1.0e-5f, "1E-05")]
    [InlineData(-1.234567e-5f, "-1.23457E-05")]
    [InlineData(1.5e10f, "1.5E+10")]
    [InlineData(float.NaN, "null")]
    [InlineData(float.PositiveInfinity, "null")]
    [InlineData(float.NegativeInfinity, "null")]
    public void Has_six_digits_and_no_more_than_needed(float score, string expected) => Assert.Equal(expected, Write(score));

    [Fact]
    public void Is_within_half_of_the_sixth_digit_whatever_the_score()
    {
        var random = new Random(11);
        for (var i = 0; i < 20_000; i++)
        {
            var score = (float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-8, 9)));

            var text = Write(score);

            Assert.InRange(text.Length, 1, ScoreText.BytesMax);
            var read = double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);
            Assert.True(Math.Abs(read - score) <= 5.1e-6 * Math.Abs(score), $"{score} was written as {text}");
        }
    }

    private static string Write(float score)
    {
        Span<byte> room = stackalloc byte[ScoreText.BytesMax];
        return Encoding.ASCII.GetString(room[..ScoreText.Write(room, score)]);
    }
}
