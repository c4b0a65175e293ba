namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>Creates a native session on the first provider of the list that works here, and keeps account of those that did not.</summary>
internal static unsafe class SessionLoader
{
    /// <summary>Creates a session from an environment and native options.</summary>
    public delegate nint Create(nint environment, nint options);

    /// <summary>The session, and every provider tried; the last one is the one it runs on.</summary>
    public sealed record Loaded(OrtHandle Session, IReadOnlyList<ProviderAttempt> Attempts);

    /// <exception cref="OnnxRuntimeException">The model is at fault, or no provider of the list works.</exception>
    public static Loaded Load(SessionOptions options, Create create)
    {
        options.Validate();
        using var environment = OrtEnvironment.Open();
        var attempts = new List<ProviderAttempt>();
        foreach (var provider in options.Providers)
        {
            if (TryLoad(environment, options, provider, create, out var reason) is { } session)
                return new Loaded(session, [.. attempts, new ProviderAttempt(provider, null)]);
            attempts.Add(new ProviderAttempt(provider, reason));
        }
        throw new OnnxRuntimeException(OrtErrorCode.ExecutionProviderFail, $"No provider could be loaded. {string.Join("; ", attempts)}");
    }

    private static OrtHandle? TryLoad(OrtHandle environment, SessionOptions options, string provider, Create create, out string? reason)
    {
        reason = null;
        try
        {
            using var native = ExecutionProviders.CreateOptions(options, provider);
            using var env = environment.Borrow();
            using var lease = native.Borrow();
            return new OrtHandle(create(env.Value, lease.Value), OrtApi.ReleaseSession, owner: environment);
        }
        catch (OnnxRuntimeException failure) when (provider != ExecutionProviders.Cpu && !IsTheModelsFault(failure.Code))
        {
            reason = failure.Message.ReplaceLineEndings(" ");
            return null;
        }
    }

    /// <summary>What another provider would not cure. A general failure may be a device without memory, or its missing driver.</summary>
    private static bool IsTheModelsFault(OrtErrorCode code) =>
        code
            is OrtErrorCode.InvalidArgument
                or OrtErrorCode.NoSuchFile
                or OrtErrorCode.NoModel
                or OrtErrorCode.InvalidProtobuf
                or OrtErrorCode.InvalidGraph;
}
