#!/usr/bin/env bash
# Writes the migration from the last released schema to the model as it is now.
#
#   migrations/add-migration.sh NAME      e.g. AddWebhooks
#
# dotnet-ef wants Microsoft.EntityFrameworkCore.Design in a start-up project, and that package's own
# dependencies are not on every feed. So a start-up project is made in a temporary folder: it downloads
# the package without its dependencies, names those few that writing a migration needs, and is deleted.
set -euo pipefail

if [ $# -ne 1 ] || [[ $1 == -* ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
fi

here=$(cd "$(dirname "$0")" && pwd)
ef=$(sed -n 's:.*<MsExt>\(.*\)</MsExt>.*:\1:p' "$here/../Directory.Packages.props")
roslyn=5.12.0
tool=${XDG_CACHE_HOME:-$HOME/.cache}/pipeline/dotnet-ef-$ef
[ -x "$tool/dotnet-ef" ] || dotnet tool install dotnet-ef --version "$ef" --tool-path "$tool"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ ! -f "$here/../nuget.config" ] || cp "$here/../nuget.config" "$work/"

# The repository's versions, and beside them those that only this project needs.
cat > "$work/Directory.Packages.props" <<XML
<Project>
  <Import Project="$here/../Directory.Packages.props" />
  <ItemGroup>
    <PackageVersion Include="Microsoft.CodeAnalysis.CSharp.Workspaces" Version="$roslyn" />
    <PackageVersion Include="Microsoft.CodeAnalysis.Workspaces.Common" Version="$roslyn" />
    <PackageVersion Include="Microsoft.CodeAnalysis.CSharp" Version="$roslyn" />
    <PackageVersion Include="Microsoft.CodeAnalysis.Common" Version="$roslyn" />
    <PackageVersion Include="Microsoft.CodeAnalysis.Analyzers" Version="$roslyn" />
    <PackageVersion Include="System.Composition" Version="10.0.11" />
    <PackageVersion Include="Humanizer.Core" Version="2.14.1" />
    <PackageVersion Include="Microsoft.Extensions.DependencyModel" Version="$ef" />
  </ItemGroup>
</Project>
XML
cat > "$work/Startup.csproj" <<XML
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <TargetFramework>net10.0</TargetFramework>
    <OutputType>Exe</OutputType>
    <NuGetAudit>false</NuGetAudit>
    <Design>\$(NuGetPackageRoot)microsoft.entityframeworkcore.design/$ef/lib/net10.0/Microsoft.EntityFrameworkCore.Design.dll</Design>
  </PropertyGroup>
  <ItemGroup>
    <ProjectReference Include="$here/Pipeline.Migrations.csproj" />
    <PackageDownload Include="Microsoft.EntityFrameworkCore.Design" Version="[$ef]" />
    <Reference Include="Microsoft.EntityFrameworkCore.Design" HintPath="\$(Design)" Private="true" />
    <PackageReference Include="Microsoft.CodeAnalysis.CSharp.Workspaces" />
    <PackageReference Include="System.Composition" />
    <PackageReference Include="Humanizer.Core" />
    <PackageReference Include="Microsoft.Extensions.DependencyModel" />
  </ItemGroup>
</Project>
XML
echo 'return;' > "$work/Program.cs"
for props in Directory.Build.props Directory.Build.targets; do echo '<Project />' > "$work/$props"; done

# First restored, so that the design package lies where the reference looks for it.
dotnet restore "$work/Startup.csproj" --verbosity quiet
"$tool/dotnet-ef" migrations add "$1" --output-dir Versions \
  --project "$here/Pipeline.Migrations.csproj" --startup-project "$work/Startup.csproj"
