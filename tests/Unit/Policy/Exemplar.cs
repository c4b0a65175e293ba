using System.Collections;
using System.Reflection;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>
/// Makes a record of any kind with every field filled, and the same record again with one of its fields changed: so that a test can say
/// "every field counts" of kinds that did not exist when it was written.
/// </summary>
internal sealed class Exemplar
{
    private readonly int _changed;
    private int _leaves;

    private Exemplar(int changed) => _changed = changed;

    /// <summary>The record, with the <paramref name="changed"/>-th field (counted through all records in it) other than usual.</summary>
    public static object Of(Type type, int changed = -1) => new Exemplar(changed).Make(type);

    /// <summary>How many fields it has, those of the records in it included.</summary>
    public static int FieldsOf(Type type)
    {
        var exemplar = new Exemplar(-1);
        exemplar.Make(type);
        return exemplar._leaves;
    }

    /// <summary>All kinds below this one, in its assembly.</summary>
    public static IEnumerable<Type> KindsOf<T>() => typeof(T).Assembly.GetTypes().Where(t => !t.IsAbstract && t.IsSubclassOf(typeof(T)));

    private object Make(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(Decision))
        {
            return Make(typeof(EndChunks));
        }

        if (type.IsGenericType && type.GetGenericArguments() is [var key, var value] && typeof(IEnumerable).IsAssignableFrom(type))
        {
            var pairs = (IDictionary)Activator.CreateInstance(typeof(Dictionary<,>).MakeGenericType(key, value))!;
            pairs.Add(Make(key), Make(value));
            return pairs;
        }

        if (type.IsGenericType && type.GetGenericArguments() is [var item] && typeof(IEnumerable).IsAssignableFrom(type))
        {
            var list = Array.CreateInstance(item, 2);
            list.SetValue(Make(item), 0);
            list.SetValue(Make(item), 1);
            return list;
        }

        return Leaf(type) ?? Whole(type);
    }

    private object Whole(Type type)
    {
        var constructor = type.GetConstructors()
            .Where(c => c.GetParameters() is not [var only] || only.ParameterType != type)
            .MaxBy(c => c.GetParameters().Length);
        var parameters = constructor?.GetParameters() ?? [];
        var made = constructor is null
            ? Activator.CreateInstance(type)!
            : constructor.Invoke([.. parameters.Select(p => Make(p.ParameterType))]);
        foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            if (property.CanWrite && !parameters.Any(p => p.Name == property.Name))
            {
                property.SetValue(made, Make(property.PropertyType));
            }
        }

        return made;
    }

    private object? Leaf(Type type)
    {
        var isLeaf =
            type.IsPrimitive
            || type.IsEnum
            || type == typeof(string)
            || type == typeof(byte[])
            || type == typeof(Guid)
            || type == typeof(TimeSpan)
            || type == typeof(DateTimeOffset);
        if (!isLeaf)
        {
            return null;
        }

        var number = 3 + _leaves + (_leaves == _changed ? 1000 : 0);
        var other = _leaves == _changed;
        _leaves++;
        return type switch
        {
            _ when type == typeof(string) => $"text {number}",
            _ when type == typeof(byte[]) => BitConverter.GetBytes(number),
            _ when type == typeof(Guid) => new Guid(number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
            _ when type == typeof(TimeSpan) => new TimeSpan(number),
            _ when type == typeof(DateTimeOffset) => new DateTimeOffset(PolicyWorld.Start.Ticks + number, TimeSpan.Zero),
            _ when type == typeof(bool) => other,
            _ when type == typeof(double) => number / 3.0,
            _ when type.IsEnum => Enum.GetValues(type).GetValue(other ? 1 : 0)!,
            _ => Convert.ChangeType(number, type, System.Globalization.CultureInfo.InvariantCulture),
        };
    }
}
