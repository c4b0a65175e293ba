using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>
/// Hashes and checks passwords: PBKDF2 with HMAC-SHA512, a salt each, and as many rounds as OWASP advises for it. A check takes some 0.1 s
/// of a core, so only a few run at a time, however many ask.
/// </summary>
internal sealed class Passwords : IDisposable
{
    private const int Rounds = 210_000;
    private const int AtOnce = 2;
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(5);
    private readonly PasswordHasher<object> _hasher = new(Options.Create(new PasswordHasherOptions { IterationCount = Rounds }));
    private readonly SemaphoreSlim _turns = new(AtOnce);
    private readonly string _nobodys;

    public Passwords() => _nobodys = _hasher.HashPassword(this, Guid.NewGuid().ToString());

    public void Dispose() => _turns.Dispose();

    public async Task<string> HashAsync(string password, CancellationToken stop)
    {
        await TakeTurnAsync(stop);
        try
        {
            return _hasher.HashPassword(this, password);
        }
        finally
        {
            _turns.Release();
        }
    }

    /// <param name="hash">Null where there is no such operator, or none with a password: that takes as long, and is wrong.</param>
    public async Task<bool> IsRightAsync(string? hash, string password, CancellationToken stop)
    {
        await TakeTurnAsync(stop);
        try
        {
            return _hasher.VerifyHashedPassword(this, hash ?? _nobodys, password) != PasswordVerificationResult.Failed && hash is not null;
        }
        finally
        {
            _turns.Release();
        }
    }

    private async Task TakeTurnAsync(CancellationToken stop)
    {
        if (!await _turns.WaitAsync(WaitMax, stop))
        {
            throw new BadHttpRequestException(
                "Too many want to sign in just now. Try again in a moment.",
                StatusCodes.Status503ServiceUnavailable
            );
        }
    }
}
