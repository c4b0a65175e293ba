#!/usr/bin/env bash
# Puts libonnxruntime.so.1 of the npm package onnxruntime-node into a cache folder, once per machine.
# Called by native.targets; safe when several builds run at the same time.
#   fetch-native.sh VERSION SHA256_OF_THE_ARCHIVE CACHE_FOLDER
set -euo pipefail
version=$1 sha256=$2 cache=$3
library=libonnxruntime.so.1
member=package/bin/napi-v6/linux/x64/$library

command -v npm >/dev/null || {
  echo "error : npm is needed to download ONNX Runtime $version (onnxruntime-node)." \
    "Install Node.js with npm, or set OnnxRuntimeLibrary to a $library you have." >&2
  exit 1
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9 # One build downloads; the others wait here and then find the file.
[[ -s $cache/$library ]] && exit 0

work=$(mktemp -d "$cache/download.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Downloading onnxruntime-node@$version from npm (114 MB, once; $library of 46 MB is kept in $cache)"
# Only the archive is fetched: no scripts of the package run, no dependencies come with it.
(cd "$work" && npm pack "onnxruntime-node@$version" --silent >/dev/null) || {
  echo "error : npm could not download onnxruntime-node@$version; try: npm pack onnxruntime-node@$version" >&2
  exit 1
}
archive=$work/onnxruntime-node-$version.tgz
actual=$(sha256sum "$archive" | cut -d' ' -f1)
[[ $actual == "$sha256" ]] || {
  echo "error : onnxruntime-node@$version has sha256 $actual, expected $sha256; nothing was kept." >&2
  exit 1
}
tar -xzf "$archive" -C "$work" --no-same-owner "$member"
# A rename is atomic: whoever looks sees no file or a whole one.
mv "$work/$member" "$cache/$library"
