using System.Buffers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Tasks;

/// <summary>
/// A tensor model's input, stored as a <see cref="PackedTensors"/> pack. Each tensor stands under its name, or bare where the model has
/// one input, as
/// <code>
/// {"shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}        elements in row-major order
/// {"shape": [2, 3], "data_base64": "…"}                little-endian elements
/// [[1, 2, 3], [4, 5, 6]]                               nested, or flat where the model leaves one way to fold it
/// </code>
/// Shapes are without the batch axis. NaN and infinities are refused in every form.
/// </summary>
internal sealed class TensorInput : TaskInput
{
    private readonly TensorForm[] _forms;
    private readonly bool[] _seen;
    private readonly int _bytesMax;
    private readonly ArrayBufferWriter<byte> _pack = new(1024);
    private readonly TensorData _data;
    private readonly JsonText _text = new();

    public TensorInput(IReadOnlyDictionary<string, TensorSpec> inputs, int bytesMax)
    {
        _forms = [.. inputs.Select(input => new TensorForm(input.Key, input.Value))];
        _seen = new bool[_forms.Length];
        _bytesMax = bytesMax;
        _data = new TensorData(bytesMax);
    }

    public override bool TryRead(
        scoped ref Utf8JsonReader json,
        TaskPlace place,
        Mistakes mistakes,
        out ReadOnlySpan<byte> input,
        out int units
    )
    {
        input = default;
        units = 0;
        _pack.ResetWrittenCount();
        Array.Clear(_seen);
        PackedTensors.WriteCount(_pack, _forms.Length);
        long elements = 0;
        var good = IsBare(json) ? TryReadOne(0, "input", ref json, ref elements) : TryReadNamed(ref json, ref elements);
        if (good && _pack.WrittenCount > _bytesMax)
        {
            good = Mistake("input", $"at most {_bytesMax} bytes", $"{_pack.WrittenCount} bytes");
        }

        if (!good)
        {
            mistakes.Add(_mistake.Field, _mistake.Expected, _mistake.Given, place);
            return false;
        }

        input = _pack.WrittenSpan;
        units = (int)Math.Clamp(elements, 1, int.MaxValue);
        return true;
    }

    private (string Field, string Expected, string Given) _mistake;

    private bool Mistake(string field, string expected, string given)
    {
        _mistake = (field, expected, given);
        return false;
    }

    /// <summary>With one input its name may be left out: anything but an object, or an object that begins like a tensor.</summary>
    private bool IsBare(Utf8JsonReader json)
    {
        if (_forms.Length != 1)
        {
            return false;
        }

        return json.TokenType != JsonTokenType.StartObject
            || (
                json.Read()
                && json.TokenType == JsonTokenType.PropertyName
                && (json.ValueTextEquals("shape"u8) || json.ValueTextEquals("data"u8) || json.ValueTextEquals("data_base64"u8))
                && !json.ValueTextEquals(_forms[0].Name)
            );
    }

    private bool TryReadNamed(scoped ref Utf8JsonReader json, ref long elements)
    {
        if (json.TokenType != JsonTokenType.StartObject)
        {
            return Mistake("input", $"an object with {Names()}", Given(in json));
        }

        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var at = Find(ref json);
            if (at < 0 || _seen[at])
            {
                var name = Excerpt.Of(json.GetString() ?? "");
                return Mistake($"input.{name}", $"{Names()}, each once", at < 0 ? "an input of that name" : "twice");
            }

            json.Read();
            if (!TryReadOne(at, $"input.{_forms[at].Name}", ref json, ref elements))
            {
                return false;
            }
        }

        return Array.IndexOf(_seen, false) is var missing and >= 0
            ? Mistake($"input.{_forms[missing].Name}", _forms[missing].ToString(), "nothing")
            : true;
    }

    private int Find(scoped ref Utf8JsonReader json)
    {
        for (var i = 0; i < _forms.Length; i++)
        {
            if (json.ValueTextEquals(_forms[i].Name))
            {
                return i;
            }
        }

        return -1;
    }

    private string Names() => $"the input{(_forms.Length == 1 ? "" : "s")} {string.Join(", ", _forms.Select(f => $"\"{f.Name}\""))}";

    private bool TryReadOne(int at, string field, scoped ref Utf8JsonReader json, ref long elements)
    {
        var form = _forms[at];
        _seen[at] = true;
        _data.Start(form.Type);
        var read =
            json.TokenType == JsonTokenType.StartObject
                ? TryReadFields(form, field, ref json, out var shape)
                : TryReadElements(form, field, ref json, out shape);
        if (!read)
        {
            return false;
        }

        PackedTensors.WriteTensor(_pack, form.Name, form.Type, shape, _data.Bytes);
        if (!form.Shared)
        {
            elements += _data.Count;
        }

        return true;
    }

    /// <summary><c>{"shape": …, "data": …}</c> or <c>{"shape": …, "data_base64": …}</c>, the fields in any order.</summary>
    private bool TryReadFields(TensorForm form, string field, scoped ref Utf8JsonReader json, out ReadOnlySpan<long> shape)
    {
        shape = default;
        long[]? given = null;
        var hasData = false;
        var nested = Array.Empty<long>();
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("shape"u8) && given is null)
            {
                json.Read();
                if (!TryReadShape(field, ref json, out given))
                {
                    return false;
                }
            }
            else if (json.ValueTextEquals("data"u8) && !hasData)
            {
                json.Read();
                hasData = true;
                if (!_data.TryRead(ref json, out var element))
                {
                    return Mistake($"{field}.data{element.Where}", element.Expected, element.Given);
                }

                nested = _data.Shape.ToArray();
            }
            else if (json.ValueTextEquals("data_base64"u8) && !hasData)
            {
                json.Read();
                hasData = true;
                if (!TryReadBase64(form, field, ref json))
                {
                    return false;
                }

                nested = [_data.Count];
            }
            else
            {
                var name = Excerpt.Of(json.GetString() ?? "");
                return Mistake($"{field}.{name}", "shape with either data or data_base64, each once", "a field of that name");
            }
        }

        if (!hasData)
        {
            return Mistake($"{field}.data", form.ToString(), "nothing");
        }

        return given is null ? TryFold(form, field, nested, out shape) : TryFit(form, field, given, nested, out shape);
    }

    private bool TryReadElements(TensorForm form, string field, scoped ref Utf8JsonReader json, out ReadOnlySpan<long> shape)
    {
        shape = default;
        return _data.TryRead(ref json, out var element)
            ? TryFold(form, field, _data.Shape, out shape)
            : Mistake(field + element.Where, element.Expected, element.Given);
    }

    private bool TryReadShape(string field, scoped ref Utf8JsonReader json, out long[] shape)
    {
        shape = [];
        var dims = new List<long>();
        var isArray = json.TokenType == JsonTokenType.StartArray;
        while (isArray && json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            if (
                json.TokenType != JsonTokenType.Number
                || !json.TryGetInt64(out var dim)
                || dim is < 0 or > int.MaxValue
                || dims.Count == 32
            )
            {
                return Mistake($"{field}.shape[{dims.Count}]", "a whole number, 0 or more", Given(in json));
            }

            dims.Add(dim);
        }

        shape = [.. dims];
        return isArray || Mistake($"{field}.shape", "an array of whole numbers", Given(in json));
    }

    private bool TryReadBase64(TensorForm form, string field, scoped ref Utf8JsonReader json)
    {
        field = $"{field}.data_base64";
        if (form.Type == TensorElementType.String)
        {
            return Mistake(field, "strings in data", "base64");
        }

        if (json.TokenType != JsonTokenType.String || !_text.TryRead(ref json, out var base64))
        {
            return Mistake(field, "a base64 string", Given(in json));
        }

        return _data.TryReadBase64(base64, out var element) || Mistake(field + element.Where, element.Expected, element.Given);
    }

    /// <summary>The data came with a shape: it must be the model's, and the elements must fill it.</summary>
    private bool TryFit(TensorForm form, string field, long[] given, ReadOnlySpan<long> nested, out ReadOnlySpan<long> shape)
    {
        shape = given;
        if (!form.Takes(given))
        {
            return Mistake($"{field}.shape", form.Shape, TensorForm.Show(given));
        }

        var elements = TensorForm.Product(given);
        if (elements != _data.Count)
        {
            return Mistake($"{field}.data", $"{elements} elements for the shape {TensorForm.Show(given)}", $"{_data.Count} elements");
        }

        return nested.Length <= 1
            || nested.SequenceEqual(given)
            || Mistake($"{field}.data", $"the shape {TensorForm.Show(given)}", TensorForm.Show(nested));
    }

    /// <summary>The data came without a shape: nested as the model wants it, or flat where only one shape is possible.</summary>
    private bool TryFold(TensorForm form, string field, ReadOnlySpan<long> nested, out ReadOnlySpan<long> shape)
    {
        shape = default;
        if (form.Takes(nested))
        {
            shape = nested.ToArray();
            return true;
        }

        if (nested.Length <= 1 && form.TryFold(_data.Count, out var folded))
        {
            shape = folded;
            return true;
        }

        return Mistake(field, $"the shape {form.Shape}", TensorForm.Show(nested));
    }
}

/// <summary>What one task's tensor must be: the manifest's words, ready for checking.</summary>
internal sealed class TensorForm
{
    private readonly long[] _shape;

    /// <exception cref="InvalidOperationException">The manifest was not completed by registration.</exception>
    public TensorForm(string name, TensorSpec spec)
    {
        Name = name;
        _shape = [.. spec.TaskShape()];
        Shared = spec.BatchAxis is null;
        Type =
            spec.Type is { } type && TensorElementTypes.TryParse(type, out var parsed)
                ? parsed
                : throw new InvalidOperationException($"The manifest names no element type for \"{name}\"; register the model again.");
        Shape = $"[{string.Join(", ", _shape.Select(d => d < 0 ? "any" : d.ToString(System.Globalization.CultureInfo.InvariantCulture)))}]";
    }

    public string Name { get; }

    public TensorElementType Type { get; }

    /// <summary>True for an input that the whole batch shares.</summary>
    public bool Shared { get; }

    /// <summary>The shape for people, <c>any</c> where dynamic.</summary>
    public string Shape { get; }

    /// <summary>True for the model's rank and fixed dimensions; a dynamic one takes 1 or more.</summary>
    public bool Takes(ReadOnlySpan<long> shape)
    {
        if (shape.Length != _shape.Length)
        {
            return false;
        }

        for (var i = 0; i < shape.Length; i++)
        {
            if (_shape[i] < 0 ? shape[i] < 1 : shape[i] != _shape[i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The one shape that a flat run of elements can have, where at most one dimension is dynamic.</summary>
    public bool TryFold(long elements, out long[] shape)
    {
        shape = [.. _shape];
        var open = Array.FindIndex(shape, d => d < 0);
        if (open >= 0 && Array.FindLastIndex(shape, d => d < 0) == open)
        {
            shape[open] = 1;
            var others = Product(shape);
            shape[open] = others > 0 && elements % others == 0 ? elements / others : -1;
        }

        return Takes(shape) && Product(shape) == elements;
    }

    public static long Product(ReadOnlySpan<long> shape)
    {
        var product = Int128.One;
        foreach (var dim in shape)
        {
            product = product > long.MaxValue ? product : product * dim;
        }

        return product > long.MaxValue ? long.MaxValue : (long)product;
    }

    public static string Show(ReadOnlySpan<long> shape)
    {
        var text = new StringBuilder("[");
        foreach (var dim in shape)
        {
            text.Append(text.Length > 1 ? ", " : "").Append(dim);
        }

        return text.Append(']').ToString();
    }

    public override string ToString() => $"{Type.Name()} of shape {Shape}";
}
