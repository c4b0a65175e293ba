namespace Pipeline.Contracts;

/// <summary>Vectors of length 1 (L2).</summary>
public static class UnitLength
{
    /// <summary>Scales a vector to length 1; one of zeros stays as it is.</summary>
    public static void Scale(Span<float> vector)
    {
        var squares = 0.0;
        foreach (var number in vector)
        {
            squares += (double)number * number;
        }

        if (squares == 0)
        {
            return;
        }

        var scale = 1 / Math.Sqrt(squares);
        for (var i = 0; i < vector.Length; i++)
        {
            vector[i] = (float)(vector[i] * scale);
        }
    }
}
