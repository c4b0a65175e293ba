using Pipeline.GpuWorker;
using Pipeline.Hosting;

var builder = WebApplication.CreateSlimBuilder(args);
var options = PipelineOptions.Read(builder.Configuration);
builder.Services.AddPipelineDefaults(options);
builder.Services.AddWorker(builder.Configuration);

var app = builder.Build();
app.UseProblems();
app.MapHealth();
await app.Services.WaitForServersAsync(app.Lifetime.ApplicationStopping);
await app.RunAsync();
