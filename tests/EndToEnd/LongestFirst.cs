using Pipeline.Tests.EndToEnd;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

[assembly: TestCollectionOrderer(typeof(LongestFirst))]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// The tests of the four processes come one after the other and take longest, so they begin first and the others run beside them. In xunit's own
/// order, which is by chance, they may begin when all others are done.
/// </summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(IReadOnlyCollection<TTestCollection> testCollections)
        where TTestCollection : ITestCollection =>
        [
            .. testCollections
                .OrderByDescending(collection => collection.TestCollectionDisplayName == RunningSystem.Collection)
                .ThenBy(collection => collection.UniqueID, StringComparer.Ordinal),
        ];
}
