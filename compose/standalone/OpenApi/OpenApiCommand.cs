using System.CommandLine;

namespace Pipeline.Standalone.OpenApi;

/// <summary><c>openapi</c>: makes the API's document from the code.</summary>
internal static class OpenApiCommand
{
    public static Command Create()
    {
        var output = new Option<string?>("--output", "-o") { Description = "Write it to this file instead of standard output" };
        var command = new Command("openapi", "Make the OpenAPI document of the HTTP API.") { output };
        command.SetAction(
            async (parsed, stop) =>
            {
                var document = await OpenApiMaker.MakeAsync(stop);
                if (parsed.GetValue(output) is { } file)
                {
                    await File.WriteAllTextAsync(file, document, stop);
                }
                else
                {
                    await Console.Out.WriteAsync(document);
                }

                return 0;
            }
        );
        return command;
    }
}
