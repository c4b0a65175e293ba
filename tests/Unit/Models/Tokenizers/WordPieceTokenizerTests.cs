using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Tokenizers;
using Xunit;

namespace Pipeline.Tests.Unit.Models.Tokenizers;

public sealed class WordPieceTokenizerTests
{
    private static readonly string[] Vocabulary =
    [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "un",
        "##aff",
        "##able",
        "want",
        "##want",
        "##ed",
        "wa",
        "runn",
        "##ing",
        ",",
        "low",
        "##er",
        "hello",
        "!",
        "how",
        "are",
        "you",
        "?",
        "$",
        "日",
        "本",
        "naive",
        "Hello",
        "[",
        "]",
        "cls",
        "a",
        "##a",
        "\u1100",
        "##\u1161",
    ];

    [Theory]
    // The three that BERT's own tests have (tokenization_test.py).
    [InlineData("unwanted running", "un ##want ##ed runn ##ing")]
    [InlineData("unwantedX running", "[UNK] runn ##ing")]
    [InlineData(" \tHeLLo!how  \n Are yoU?  ", "hello ! how are you ?")]
    [InlineData("", "")]
    [InlineData("unaffable", "un ##aff ##able")]
    [InlineData("H\u00E9llo", "hello")]
    [InlineData("naïve", "naive")]
    [InlineData("nai\u0308ve", "naive")]
    [InlineData("日本low", "日 本 low")]
    [InlineData("low日er", "low 日 [UNK]")]
    [InlineData("low,lower", "low , low ##er")]
    [InlineData("$low", "$ low")]
    [InlineData("lo\u0000w", "low")]
    [InlineData("lo\u200Dw", "low")]
    [InlineData("low\u00A0low", "low low")]
    [InlineData("low\u0085low", "[UNK]")] // NEL is a control character, and dropped
    [InlineData("lo\uFFFDw", "low")]
    [InlineData("[CLS]", "[ cls ]")] // text cannot smuggle a special token in
    [InlineData("가", "\u1100 ##\u1161")]
    [InlineData("HELLO", "hello")]
    public void Splits_as_BERT_does(string text, string expected) => Assert.Equal(expected, Tokens(text));

    [Fact]
    public void Keeps_case_and_accents_where_told()
    {
        Assert.Equal("Hello low", Tokens("Hello low", lowerCase: false));
        Assert.Equal("[UNK]", Tokens("naïve", lowerCase: false));
    }

    [Fact]
    public void A_word_of_more_than_a_hundred_characters_is_unknown()
    {
        Assert.Equal("a" + string.Concat(Enumerable.Repeat(" ##a", 99)), Tokens(new string('a', 100)));
        Assert.Equal("[UNK] low", Tokens(new string('a', 101) + " low"));
    }

    [Fact]
    public void Cuts_at_the_longest_length_and_closes_with_SEP()
    {
        var tokenizer = Tokenizer(maxLength: 5);

        Assert.Equal([2, 4, 8, 9, 3], tokenizer.Tokenize("unwanted running"u8));
        Assert.Equal(5, tokenizer.Prepare(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("low ", 1000)))).Units);
    }

    [Fact]
    public void A_word_that_the_cut_goes_through_is_still_whole_or_unknown()
    {
        // The last word has no end in the vocabulary, so it is unknown, although its first pieces would fit.
        Assert.Equal([2, 14, 1, 3], Tokenizer(maxLength: 4).Tokenize("low unwantedX"u8));
    }

    [Fact]
    public void Ids_in_place_of_a_text_are_framed_and_cut_as_one()
    {
        // [CLS] is 2, [SEP] is 3.
        Assert.Equal([2, 4, 8, 9, 3], Ids([4, 8, 9]));
        Assert.Equal([2, 4, 3], Ids([2, 4, 3]));
        Assert.Equal([2, 4, 8, 9, 11, 3], Ids([4, 8, 9, 11, 12, 14], maxLength: 6));

        Assert.Throws<TaskInputException>(() => Ids([4, Vocabulary.Length]));
        Assert.Throws<TaskInputException>(() => Ids([-1]));

        static int[] Ids(int[] tokens, int maxLength = 512)
        {
            var task = Tokenizer(maxLength: maxLength).Prepare(TokenIds.Pack(tokens));
            var ids = new int[task.Tokens];
            task.Write<int>(ids, 1);
            return ids;
        }
    }

    [Fact]
    public void Goes_past_what_is_not_UTF8()
    {
        Assert.Equal([2, 14, 3], Tokenizer().Tokenize([(byte)'l', 0xFF, (byte)'o', 0xC3, (byte)'w']));
    }

    [Fact]
    public void Writes_its_ids_into_rows_and_columns()
    {
        var task = Tokenizer().Prepare("low"u8.ToArray());
        var row = new long[4];
        task.Write<long>(row, step: 1);
        var column = new int[8];
        task.Write(column.AsSpan(1), step: 2);

        Assert.Equal(3, task.Tokens);
        Assert.Equal([2, 14, 3, 0], row);
        Assert.Equal([0, 2, 0, 14, 0, 3, 0, 0], column);
    }

    [Fact]
    public void Refuses_a_vocabulary_without_its_special_tokens()
    {
        var failure = Assert.Throws<InvalidModelException>(() => new WordPieceVocabulary("vocab.txt", ["[PAD]", "[UNK]", "[CLS]", "low"]));

        Assert.Equal("vocab.txt: expected the tokens [CLS], [SEP], [UNK] and [PAD], given no [SEP].", failure.Message);
    }

    private static string Tokens(string text, bool lowerCase = true)
    {
        var ids = Tokenizer(lowerCase).Tokenize(Encoding.UTF8.GetBytes(text));
        Assert.Equal((2, 3), (ids[0], ids[^1]));
        return string.Join(' ', ids[1..^1].Select(id => Vocabulary[id]));
    }

    private static WordPieceTokenizer Tokenizer(bool lowerCase = true, int maxLength = 512) =>
        new(new WordPieceVocabulary("vocab.txt", Vocabulary), lowerCase, maxLength);
}
