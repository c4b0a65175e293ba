using System.Diagnostics.CodeAnalysis;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>Creates a native session on the first provider of the list that works here, and keeps account of those that did not.</summary>
internal static unsafe class SessionLoader
{
    /// <summary>Creates a session from an environment and native options.</summary>
    public delegate nint Create(nint environment, nint options);

    /// <summary>The session, and every provider tried; the last one is the one it runs on.</summary>
    public sealed record Loaded(OrtHandle Session, IReadOnlyList<ProviderAttempt> Attempts);

    /// <exception cref="OnnxRuntimeException">No provider of the list works, or none that works takes the model.</exception>
    public static Loaded Load(SessionOptions options, Create create)
    {
        options.Validate();
        var environment = OrtEnvironment.Pointer;
        var attempts = new List<ProviderAttempt>();
        OnnxRuntimeException? refusal = null;
        foreach (var provider in options.Providers)
        {
            using var passage = DeviceGate.Of(provider).Enter();
            if (!TryProvider(options, provider, out var native, out var absence))
            {
                attempts.Add(Failed(provider, absence));
                continue;
            }
            using (native)
            {
                if (TryCreate(environment, native, provider, create, out var session, out refusal))
                    return new Loaded(session, [.. attempts, new ProviderAttempt(provider, null)]);
                attempts.Add(Failed(provider, refusal));
            }
        }
        // A model that a working provider refused says more than the providers that are not here.
        throw refusal ?? new OnnxRuntimeException(OrtErrorCode.ExecutionProviderFail, $"No provider loads. {string.Join("; ", attempts)}");
    }

    private static bool TryProvider(
        SessionOptions options,
        string provider,
        [NotNullWhen(true)] out OrtHandle? native,
        [NotNullWhen(false)] out OnnxRuntimeException? absence
    )
    {
        (native, absence) = (null, null);
        try
        {
            native = ExecutionProviders.CreateOptions(options, provider);
            return true;
        }
        catch (OnnxRuntimeException failure)
        {
            absence = failure;
            return false;
        }
    }

    /// <summary>A device may refuse what the next provider can do: too little memory, a driver that only fails now.</summary>
    private static bool TryCreate(
        nint environment,
        OrtHandle options,
        string provider,
        Create create,
        [NotNullWhen(true)] out OrtHandle? session,
        [NotNullWhen(false)] out OnnxRuntimeException? refusal
    )
    {
        (session, refusal) = (null, null);
        using var native = options.Borrow();
        try
        {
            if (provider == ExecutionProviders.WebGpu)
                WebGpuMemory.Reclaim(environment, native.Value);
            session = new OrtHandle(create(environment, native.Value), OrtApi.ReleaseSession, gate: DeviceGate.Of(provider));
            return true;
        }
        catch (OnnxRuntimeException failure)
        {
            refusal = failure;
            return false;
        }
    }

    private static ProviderAttempt Failed(string provider, OnnxRuntimeException failure) =>
        new(provider, failure.Message.ReplaceLineEndings(" "));
}
