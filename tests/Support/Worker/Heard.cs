using System.Threading.Channels;
using Xunit;

namespace Pipeline.Tests.Support.Worker;

/// <summary>Messages in the order they came, for tests that wait for one of them.</summary>
internal sealed class Heard<T>
{
    private readonly List<T> _all = [];
    private readonly List<Channel<T>> _listeners = [];

    public IReadOnlyList<T> All
    {
        get
        {
            lock (_all)
            {
                return [.. _all];
            }
        }
    }

    public void Add(T message)
    {
        lock (_all)
        {
            _all.Add(message);
            _listeners.ForEach(l => l.Writer.TryWrite(message));
        }
    }

    /// <summary>The first that fits, of those that came and those to come.</summary>
    public async Task<T> FirstAsync(Func<T, bool> fits, TimeSpan patience)
    {
        var listener = Channel.CreateUnbounded<T>();
        lock (_all)
        {
            _all.ForEach(m => listener.Writer.TryWrite(m));
            _listeners.Add(listener);
        }

        using var late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        late.CancelAfter(patience);
        await foreach (var message in listener.Reader.ReadAllAsync(late.Token))
        {
            if (fits(message))
            {
                lock (_all)
                {
                    _listeners.Remove(listener);
                }

                return message;
            }
        }

        throw new InvalidOperationException("A listener never ends.");
    }
}
