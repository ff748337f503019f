#!/usr/bin/env bash
# Brings the Autobahn suite, which tests servers of WebSocket, and prints the Python that has it: the suite needs Python 2.7.
#
# usage: build.sh           stdout: one line, the path of a Python; stderr: progress
# reads: XDG_CACHE_HOME     where it lives (default ~/.cache)
#        PYENV_ROOT         where pyenv keeps its Pythons (default ~/.pyenv)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# The last release that makes an environment of Python 2.7.
virtualenv=virtualenv==20.21.1

die() {
    printf 'tests/autobahn/build.sh needs %s, then run this again\n' "$*" >&2
    exit 1
}

# The Python 2.7 of PATH, or one of pyenv; what stands in PATH may be a word of pyenv alone, which runs nothing.
find_python() {
    local python
    for python in $(type -aP python2.7) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
        if "$python" -c 'import ssl, zlib' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    return 1
}

key=$(cat -- "${BASH_SOURCE[0]}" "$here/requirements.txt" | sha256sum | cut -c -12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait
folder=$cache/autobahn-$key
if [[ ! -d $folder ]]; then
    python=$(find_python) || die 'Python 2.7 in PATH or of pyenv: install it with pyenv (pyenv install 2.7.18)'
    python3 -m pip --version >/dev/null || die 'pip: install python3-pip'
    mkdir -p -- "$cache"
    made=$(mktemp -d -- "$cache/autobahn-XXXXXX")
    trap 'rm -rf -- "$made"' EXIT
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1 PIP_ROOT_USER_ACTION=ignore
    python3 -m pip install --quiet --target "$made/tools" "$virtualenv" >&2
    PYTHONPATH=$made/tools python3 -m virtualenv --quiet --python "$python" "$made/python" >&2
    "$made/python/bin/python" -m pip install --quiet --no-deps --requirement "$here/requirements.txt" >&2
    rm -rf -- "$made/tools"
    # Another run may have been quicker.
    mv -T -- "$made" "$folder" 2>/dev/null || [[ -d $folder ]]
fi
printf '%s\n' "$folder/python/bin/python"
