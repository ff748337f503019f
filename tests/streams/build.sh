#!/usr/bin/env bash
# Brings clients that others wrote for streams: programs in Node.js, Go and Python that read one and print it, with the versions
# that are fixed here, in node/package-lock.json and in go/go.sum; and h2spec, which tests servers of HTTP/2. Prints the folder that
# holds them.
#
# usage: build.sh           stdout: one line, the folder; stderr: progress
# reads: XDG_CACHE_HOME     where the folder lives (default ~/.cache)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
h2spec=github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
python=(
    anyio==4.16.0 certifi==2026.10.19.post1 h11==0.16.0 httpcore==1.0.9 httpx==0.28.1 httpx-sse==0.4.3
    idna==3.20 sseclient-py==1.9.0 typing_extensions==4.16.0 websockets==17.4
)

die() {
    printf 'tests/streams/build.sh needs %s, then run this again\n' "$*" >&2
    exit 1
}

type -P npm >/dev/null || die 'Node.js 20 or newer with npm: install nodejs and npm'
type -P go >/dev/null || die 'Go: install it from go.dev'
python3 -m pip --version >/dev/null || die 'pip: install python3-pip'

key=$(cd -- "$here" && cat -- build.sh read.py node/*.js* go/* | sha256sum | cut -c -12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait
folder=$cache/streams-$key
if [[ ! -d $folder ]]; then
    mkdir -p -- "$cache"
    made=$(mktemp -d -- "$cache/streams-XXXXXX")
    trap 'rm -rf -- "$made"' EXIT
    cp -R -- "$here/node" "$here/read.py" "$made"
    npm ci --prefix "$made/node" --ignore-scripts --no-audit --no-fund >&2
    (cd -- "$here/go" && go build -o "$made/read" . >&2)
    GOBIN=$made go install "$h2spec" >&2
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$made/python" \
        "${python[@]}" >&2
    # Another run may have been quicker.
    mv -T -- "$made" "$folder" 2>/dev/null || [[ -d $folder ]]
fi
printf '%s\n' "$folder"
