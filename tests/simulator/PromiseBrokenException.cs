namespace Pipeline.Simulator;

/// <summary>A promise of DESIGN.md did not hold in a simulated world.</summary>
internal sealed class PromiseBrokenException(string message) : Exception(message);
