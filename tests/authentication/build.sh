#!/usr/bin/env bash
# Brings the programs that the tests of authentication need, and prints the folder that holds them: htpasswd, and an OpenID
# Connect issuer (oidc-provider, a certified implementation) with the versions that oidc/package-lock.json fixes.
#
# usage: build.sh           stdout: one line, the folder; stderr: progress
# reads: XDG_CACHE_HOME     where the folder lives (default ~/.cache)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# What htpasswd of Debian's package loads beside what every machine has; newer releases name the first two with t64.
packages=(apache2-utils libapr1 libaprutil1)

say() {
    printf 'authentication: %3ds %s\n' "$SECONDS" "$*" >&2
}

die() {
    printf 'tests/authentication/build.sh %s, then run this again\n' "$*" >&2
    exit 1
}

# The name of the folder: everything that decides what is in it.
key() {
    (cd -- "$here" && cat -- build.sh oidc/*) | sha256sum | cut -c -12
}

# download PACKAGE: or the same library under the name that it has since the move to 64-bit times.
download() {
    apt-get download "$1" >&2 || apt-get download "$1t64" >&2
}

download_all() {
    local package
    for package in "${packages[@]}"; do download "$package" || return 1; done
}

# take_htpasswd INTO: the system's, or the one of Debian's packages, taken out of them without installing anything.
take_htpasswd() {
    local into=$1 libraries
    if type -P htpasswd >/dev/null; then
        ln -s -- "$(type -P htpasswd)" "$into/htpasswd"
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        die "needs htpasswd: install it with your system's packages (apache2-utils, httpd-tools)"
    fi
    mkdir -- "$into/packages"
    (
        cd -- "$into/packages"
        # A new machine has no package lists yet; bringing them needs root, as installing would.
        download_all || { apt-get update >&2 && download_all; }
        for package in *.deb; do dpkg-deb -x "$package" .; done
        rm -- *.deb
    )
    libraries=$(cd -- "$into/packages" && dirname -- usr/lib/*/libapr-1.so.0)
    cat >"$into/htpasswd" <<END
#!/bin/sh
here=\$(dirname -- "\$0")/packages
LD_LIBRARY_PATH=\$here/$libraries exec "\$here/usr/bin/htpasswd" "\$@"
END
    chmod 755 -- "$into/htpasswd"
    say "took htpasswd out of its package"
}

# take_issuer INTO: as the lock says; nothing of a package is run while it is installed.
take_issuer() {
    local major
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        die "needs Node.js 20 or newer with npm: install it with your system's packages (nodejs, npm)"
    fi
    major=$(node --print 'process.versions.node.split(".")[0]')
    [[ $major -ge 20 ]] || die "needs Node.js 20 or newer, and this is $major: install a newer one"
    cp -R -- "$here/oidc" "$1/oidc"
    npm ci --prefix "$1/oidc" --ignore-scripts --no-audit --no-fund --omit=dev >&2
    say "installed the issuer"
}

main() {
    local cache folder building
    command -v openssl >/dev/null || die "needs openssl for certificates: install it with your system's packages"
    [[ $# -eq 0 ]] || { echo "usage: tests/authentication/build.sh" >&2; exit 2; }
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait/authentication
    folder=$cache/$(key)
    if [[ ! -d $folder ]]; then
        mkdir -p -- "$cache"
        # Two runs side by side: the second waits here and then finds the folder.
        exec 9>"$cache/lock"
        flock 9
        if [[ ! -d $folder ]]; then
            rm -rf -- "$cache"/.building.*
            building=$(mktemp -d -- "$cache/.building.XXXXXX")
            take_htpasswd "$building"
            take_issuer "$building"
            chmod 755 -- "$building"
            # The rename is what makes the folder complete: it is there with everything, or not at all.
            mv -T -- "$building" "$folder"
            say "all is in $folder"
        fi
    fi
    printf '%s\n' "$folder"
}

main "$@"
