using System.Runtime.CompilerServices;

namespace Pipeline.Scheduler.Policy.Index;

/// <summary>
/// Records without headers, named by a number from 1 on; 0 names none. They lie in pages that never move, so growing copies nothing and
/// a reference stays good; the garbage collector does not move them either, or it would copy the whole backlog. What is freed has its number given out again.
/// </summary>
internal sealed class Slab<T>
    where T : unmanaged
{
    private const int PageBits = 10;
    private const int PageMask = (1 << PageBits) - 1;

    private T[][] _pages = [];
    private int _pagesCount;
    private readonly PagedInts _free = new();
    private int _freeCount;
    private int _used = 1;

    /// <summary>Records in use.</summary>
    public int Count => _used - 1 - _freeCount;

    public ref T this[int id]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref _pages[id >> PageBits][id & PageMask];
    }

    /// <summary>A record's number; what is in the record is what its last user left.</summary>
    public int Add()
    {
        var id = _freeCount > 0 ? _free[--_freeCount] : _used++;
        if (id >> PageBits == _pagesCount)
        {
            Rows.Append(ref _pages, ref _pagesCount, GC.AllocateArray<T>(1 << PageBits, pinned: true));
        }

        return id;
    }

    public void Free(int id)
    {
        _free.Reserve(_freeCount + 1);
        _free[_freeCount++] = id;
    }
}

/// <summary>A row of numbers that grows page by page: only the first, small page is ever copied.</summary>
internal sealed class PagedInts
{
    private const int PageBits = 12;
    private const int PageMask = (1 << PageBits) - 1;
    private const int FirstPageMin = 4;

    private int[][] _pages = [];
    private int _pagesCount;

    public ref int this[int index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref _pages[index >> PageBits][index & PageMask];
    }

    /// <summary>Makes room for <paramref name="count"/> numbers.</summary>
    public void Reserve(int count)
    {
        if (count <= 1 << PageBits)
        {
            ReserveFirst(count);
            return;
        }

        while (_pagesCount << PageBits < count)
        {
            ReserveFirst(1 << PageBits);
            Rows.Append(ref _pages, ref _pagesCount, Page(1 << PageBits));
        }
    }

    private void ReserveFirst(int count)
    {
        if (_pagesCount == 0)
        {
            Rows.Append(ref _pages, ref _pagesCount, Page(Math.Max(FirstPageMin, count)));
        }
        else if (_pages[0].Length < count)
        {
            var grown = Page(Math.Min(1 << PageBits, Math.Max(count, 2 * _pages[0].Length)));
            _pages[0].CopyTo(grown, 0);
            _pages[0] = grown;
        }
    }

    private static int[] Page(int count) => count == 1 << PageBits ? GC.AllocateArray<int>(count, pinned: true) : new int[count];
}

/// <summary>A list as a bare array: every look at the backlog goes through one, and a <see cref="List{T}"/> is one load and one check more.</summary>
internal static class Rows
{
    public static void Append<T>(ref T[] rows, ref int count, T row)
    {
        if (count == rows.Length)
        {
            Array.Resize(ref rows, Math.Max(4, 2 * count));
        }

        rows[count++] = row;
    }
}
