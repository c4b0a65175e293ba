// A worker as production runs it, but for its model: a fake one that kills the process when it meets the word for it.

using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Pipeline.GpuWorker;
using Pipeline.Hosting;
using Pipeline.Tests.Support.Worker;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
builder.Services.AddWorker(builder.Configuration);
builder.Services.Replace(ServiceDescriptor.Singleton<IModelSource>(new FakeModels(batchRowsMax: 16)));

await using var app = builder.Build();
app.MapHealth();
await app.Services.WaitForServersAsync(CancellationToken.None);
await app.RunAsync();
