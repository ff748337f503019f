# What a node needs of the system, and how it is had; sourced, not run.
# shellcheck shell=bash

# Longest wait for another run of ours, and for whoever else holds dpkg's lock (an unattended upgrade), in seconds.
apt_patience=600

# The program or folder that shows that a Debian package (or its like elsewhere) is there, and the package.
needs() {
    cat <<'END'
containerd containerd
ctr containerd
runc runc
cni containernetworking-plugins
buildah buildah
iptables iptables
ip iproute2
conntrack conntrack
nsenter util-linux
unshare util-linux
openssl openssl
curl curl
cc gcc
END
}

# The folder of the CNI plugins: distributions do not agree on it.
cni_plugins() {
    local folder
    for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni /usr/lib/cni/bin; do
        if [[ -x $folder/ptp && -x $folder/portmap && -x $folder/host-local && -x $folder/loopback ]]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

# The packages of which something is missing, each once.
missing() {
    local what package
    while read -r what package; do
        if [[ $what == cni ]]; then
            cni_plugins >/dev/null || printf '%s\n' "$package"
        else
            type -P "$what" >/dev/null || printf '%s\n' "$package"
        fi
    done < <(needs) | sort -u
}

# Installs what is missing where Debian's packages can be had, and else says what to install.
install_missing() {
    local packages
    mapfile -t packages < <(missing)
    [[ ${#packages[@]} -gt 0 ]] || return 0
    if type -P apt-get >/dev/null; then
        one_at_a_time install_still_missing || true
        mapfile -t packages < <(missing)
    fi
    [[ ${#packages[@]} -eq 0 ]] || die "the tests need what these Debian packages hold:" \
        "${packages[*]}; install them or their like with your system's package manager, then run this again"
}

# one_at_a_time COMMAND...: while no other run installs, since apt-get fails at once where another holds its locks. The
# kernel frees this one when its holder ends in any way.
one_at_a_time() {
    local lock=${nodes%/nodes}/apt.lock
    mkdir -p -- "${lock%/*}"
    (
        if ! flock --nonblock 8; then
            say "another run installs packages; waiting for it"
            flock --timeout "$apt_patience" 8 || { say "it still does"; exit 1; }
        fi
        "$@"
    ) 8>"$lock"
}

# What is missing by now: another run may have installed it while this one waited.
install_still_missing() {
    local packages
    mapfile -t packages < <(missing)
    [[ ${#packages[@]} -gt 0 ]] || return 0
    say "installing ${packages[*]}"
    # A new machine has no package lists yet, and an old one may have lists of packages that are gone.
    apt_get install --yes --no-install-recommends "${packages[@]}" ||
        { apt_get update && apt_get install --yes --no-install-recommends "${packages[@]}"; }
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout="$apt_patience" "$@" >&2
}
