namespace Pipeline.Simulator;

/// <summary>Things in numbered places, so that an event can name one; places are used again.</summary>
internal sealed class Store<T>
    where T : class
{
    private readonly List<T?> _places = [];
    private readonly Stack<int> _free = new();

    public int Count => _places.Count - _free.Count;

    public T this[int place] => _places[place]!;

    public IEnumerable<T> All => _places.OfType<T>();

    public int Add(T thing)
    {
        if (_free.TryPop(out var place))
        {
            _places[place] = thing;
            return place;
        }

        _places.Add(thing);
        return _places.Count - 1;
    }

    public T Remove(int place)
    {
        var thing = _places[place]!;
        _places[place] = null;
        _free.Push(place);
        return thing;
    }
}
