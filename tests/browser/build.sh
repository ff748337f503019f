#!/usr/bin/env bash
# Brings what the tests of the page in a browser need, and prints the folder that holds it: `chromium`, and axe.min.js
# (axe-core, which finds what a keyboard or a screen reader cannot use) of the version that package-lock.json fixes.
#
# usage: build.sh           stdout: one line, the folder; stderr: progress
# reads: XDG_CACHE_HOME     where the folder lives (default ~/.cache)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait

say() {
    printf 'browser: %3ds %s\n' "$SECONDS" "$*" >&2
}

die() {
    printf 'tests/browser/build.sh %s, then run this again\n' "$*" >&2
    exit 1
}

# The name of the folder: everything that decides what is in it.
key() {
    (cd -- "$here" && cat -- build.sh package*.json) | sha256sum | cut -c -12
}

# Downloads and unpacks here the packages, and all that they need and this system lacks.
bring() {
    local packages
    # Only a simulation: it tells what is missing, and needs no root.
    packages=$(apt-get install --simulate --no-install-recommends chromium fonts-dejavu-core |
        awk '$1 == "Inst" { print $2 }') || return
    # shellcheck disable=SC2086 # One word for each package.
    apt-get download $packages >&2 || return
    for package in *.deb; do
        dpkg-deb -x "$package" . || return
        rm -- "$package"
    done
}

# take_chromium INTO: the system's, or that of Debian's packages, taken out of them without installing anything.
take_chromium() {
    local into=$1 libraries
    if type -P chromium >/dev/null; then
        ln -s -- "$(type -P chromium)" "$into/chromium"
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        die "needs chromium: install it with your system's packages"
    fi
    mkdir -- "$into/packages"
    (
        cd -- "$into/packages"
        # A new machine has no package lists yet; bringing them needs root, as installing would.
        bring || { apt-get update >&2 && bring; } ||
            die "cannot bring chromium: install the package chromium"
    )
    # Chromium draws no text without a font, and looks for fonts where this says.
    cat >"$into/fonts.conf" <<'END'
<?xml version="1.0"?>
<fontconfig><dir prefix="relative">packages/usr/share/fonts</dir><dir>/usr/share/fonts</dir></fontconfig>
END
    libraries=$(cd -- "$into/packages" && find . -path '*-linux-gnu*' -name 'lib*.so*' -printf '$here/packages/%h\n' |
        sort -u | paste -sd :)
    cat >"$into/chromium" <<END
#!/bin/sh
# chromium with the libraries and fonts of its packages.
here=\$(dirname -- "\$(readlink -f -- "\$0")")
LD_LIBRARY_PATH=$libraries
export LD_LIBRARY_PATH FONTCONFIG_FILE="\$here/fonts.conf"
exec "\$here/packages/usr/lib/chromium/chromium" "\$@"
END
    chmod 755 -- "$into/chromium"
    say "took chromium out of its packages"
}

# take_axe INTO: nothing of the package is run while it is installed.
take_axe() {
    command -v npm >/dev/null || die "needs npm: install it with your system's packages (nodejs, npm)"
    mkdir -- "$1/npm"
    cp -- "$here"/package*.json "$1/npm"
    npm ci --prefix "$1/npm" --ignore-scripts --no-audit --no-fund >&2
    mv -- "$1/npm/node_modules/axe-core/axe.min.js" "$1/axe.min.js"
    rm -rf -- "$1/npm"
}

main() {
    local folder building
    [[ $# -eq 0 ]] || { echo "usage: tests/browser/build.sh" >&2; exit 2; }
    folder=$cache/browser/$(key)
    if [[ ! -d $folder ]]; then
        mkdir -p -- "$cache/browser"
        # Two runs side by side: the second waits here and then finds the folder. No other run that installs packages is
        # to change the lists of packages meanwhile.
        exec 9>"$cache/apt.lock"
        flock 9
        if [[ ! -d $folder ]]; then
            rm -rf -- "$cache/browser"/.building.*
            building=$(mktemp -d -- "$cache/browser/.building.XXXXXX")
            take_axe "$building"
            take_chromium "$building"
            chmod 755 -- "$building"
            # The rename is what makes the folder complete: it is there with everything, or not at all.
            mv -T -- "$building" "$folder"
            say "all is in $folder"
        fi
    fi
    printf '%s\n' "$folder"
}

main "$@"
