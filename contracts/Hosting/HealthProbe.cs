using System.Globalization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;

namespace Pipeline.Hosting;

/// <summary>
/// <c>dotnet Pipeline.Ingest.dll health</c>: asks the service that runs beside it whether it is ready, and tells by the exit code. For
/// containers, whose images have no shell and no curl.
/// </summary>
public static class HealthProbe
{
    public const string Argument = "health";
    public const string Path = "/healthz/ready";

    /// <summary>Where a service listens that was told nothing.</summary>
    private const int PortDefault = 5000;

    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(5);

    public static bool IsAsked(string[] args) => args is [Argument];

    /// <summary>0 when the service of this container is ready, 1 when it is not, does not answer, or its address makes no sense.</summary>
    public static async Task<int> RunAsync()
    {
        var settings = new ConfigurationBuilder().AddEnvironmentVariables("ASPNETCORE_").Build();
        try
        {
            // A proxy of the environment is for others.
            using var direct = new SocketsHttpHandler { UseProxy = false };
            using var http = new HttpClient(direct) { Timeout = WaitMax };
            using var reply = await http.GetAsync(new Uri(Address(settings), Path));
            return reply.IsSuccessStatusCode ? 0 : await FailAsync($"{Path} answered {(int)reply.StatusCode}");
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or FormatException)
        {
            return await FailAsync(e.Message);
        }
    }

    /// <summary>The first address the service was told to listen at, as Kestrel reads it, seen from its own machine.</summary>
    /// <param name="settings"><c>URLS</c>, else <c>HTTP_PORTS</c>.</param>
    /// <exception cref="FormatException">It is no address or port.</exception>
    internal static Uri Address(IConfiguration settings)
    {
        if (First(settings["URLS"]) is { } url)
        {
            var given = BindingAddress.Parse(url);
            var everywhere = given.Host is "+" or "*" or "0.0.0.0" or "[::]";
            return new UriBuilder(given.Scheme, everywhere ? "127.0.0.1" : given.Host, given.Port).Uri;
        }

        return new UriBuilder("http", "127.0.0.1", First(settings["HTTP_PORTS"]) is { } port ? Port(port) : PortDefault).Uri;
    }

    private static int Port(string text) =>
        ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            ? port
            : throw new FormatException($"ASPNETCORE_HTTP_PORTS expects ports, given \"{text}\".");

    private static string? First(string? list) =>
        list?.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).FirstOrDefault();

    private static async Task<int> FailAsync(string reason)
    {
        await Console.Error.WriteLineAsync($"not healthy: {reason}");
        return 1;
    }
}
