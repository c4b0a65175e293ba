using System.Diagnostics;
using System.Globalization;

namespace Pipeline.Standalone;

/// <summary>
/// The ordinary user a private server runs as when this process is root: PostgreSQL refuses to run as root, and no server needs to.
/// </summary>
internal sealed record ServerUser(string Name, int Uid, int Gid)
{
    private static readonly string[] Candidates = ["postgres", "nobody"];
    private static readonly string[] ToolFolders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

    /// <summary>The user to change to, or null when this process is no root and servers run as itself.</summary>
    /// <exception cref="InvalidOperationException">This process is root and the machine has no ordinary user that would do.</exception>
    public static ServerUser? Find()
    {
        if (!Environment.IsPrivilegedProcess)
        {
            return null;
        }

        var users = File.ReadLines("/etc/passwd")
            .Select(line => line.Split(':'))
            .Where(f => f.Length > 3)
            .ToLookup(f => f[0], f => (Uid: Number(f[2]), Gid: Number(f[3])));
        var name =
            Candidates.FirstOrDefault(c => users.Contains(c))
            ?? throw new InvalidOperationException(
                $"Running as root, a private server needs an ordinary user; /etc/passwd has none of: {string.Join(", ", Candidates)}."
            );
        return new ServerUser(name, users[name].First().Uid, users[name].First().Gid);
    }

    /// <summary>A command that this user runs, or this process itself where <paramref name="user"/> is null.</summary>
    public static ProcessStartInfo Command(ServerUser? user, string file, params IEnumerable<string> arguments)
    {
        string[] prefix = user is null ? [] : user.Prefix();
        string[] all = [.. prefix, file, .. arguments];
        return new ProcessStartInfo(all[0], all[1..]);
    }

    /// <summary>Gives a file or folder, and all in it, to this user.</summary>
    public Task OwnAsync(string path, CancellationToken cancellationToken) =>
        Tool.RunAsync(new ProcessStartInfo("chown", ["-R", $"{Uid}:{Gid}", path]), cancellationToken);

    /// <summary>True when this user may enter the folder; a folder below <c>/root</c> is the usual one that nobody else may.</summary>
    public async Task<bool> CanEnterAsync(string folder, CancellationToken cancellationToken) =>
        (await Tool.TryRunAsync(Command(this, "test", "-x", folder), cancellationToken)).ExitCode == 0;

    /// <summary>Debian's three ways to become another user for one command, the plainest first.</summary>
    private string[] Prefix()
    {
        if (Has("setpriv"))
        {
            return ["setpriv", $"--reuid={Uid}", $"--regid={Gid}", "--clear-groups", "--"];
        }

        return Has("runuser")
            ? ["runuser", "-u", Name, "--"]
            : throw new InvalidOperationException("Running as root, a private server needs setpriv or runuser (Debian: util-linux).");
    }

    private static bool Has(string tool) => ToolFolders.Any(folder => File.Exists(Path.Combine(folder, tool)));

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
