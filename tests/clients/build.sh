#!/usr/bin/env bash
# Brings what the tests of deploy/clients and the benchmarks need, and prints the folder that holds it: `python` with
# requests, `pothead` with its worker and its hub, and `follow`, the client in Go. Needs python3 with pip, Go,
# and a JDK, whose client the demos of docs/exchange.md try.
#
# usage: build.sh           stdout: one line, the folder; stderr: progress
# reads: XDG_CACHE_HOME     where the folder lives (default ~/.cache)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source=$here/../../deploy/clients/follow.go
requests=requests==2.32.5
# Its hub needs aiohttp, and works with no other version.
pothead=(pothead==0.10.6 aiohttp==3.10.11)

die() {
    printf 'tests/clients/build.sh needs %s, then run this again\n' "$*" >&2
    exit 1
}

type -P javac >/dev/null || die 'a JDK: install openjdk-17-jdk-headless'
type -P go >/dev/null || die 'Go: install it from go.dev'
python3 -m pip --version >/dev/null || die 'pip: install python3-pip'

key=$(cat -- "${BASH_SOURCE[0]}" "$source" | sha256sum | cut -c -12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait
folder=$cache/clients-$key
if [[ ! -d $folder ]]; then
    mkdir -p -- "$cache"
    made=$(mktemp -d -- "$cache/clients-XXXXXX")
    trap 'rm -rf -- "$made"' EXIT
    python3 -m pip install --quiet --disable-pip-version-check --target "$made/python" "$requests" >&2
    python3 -m pip install --quiet --disable-pip-version-check --target "$made/pothead" "${pothead[@]}" >&2
    GO111MODULE=off go build -o "$made/follow" "$source" >&2
    # Another run may have been quicker.
    mv -T -- "$made" "$folder" 2>/dev/null || [[ -d $folder ]]
fi
printf '%s\n' "$folder"
