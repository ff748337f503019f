#!/usr/bin/env bash
# Builds the programs of the test control plane, or those of the test node, from their Go modules and prints the folder
# that holds them.
#
# The integration tests speak to a real kube-apiserver, a real etcd and real NATS servers. All come from the Go module
# proxy, at the versions that go.mod and go.sum beside this script fix: no container engine and no download page is
# needed. nginx, as a proxy in front and as the app, and haproxy are the system's or those of Debian's packages.
#
# usage: build.sh              the control plane. stdout: one line, the folder; stderr: progress
#        build.sh node         what tests/node needs beside it, in a folder of its own: who needs only an API server
#                              does not wait for a kubelet
# reads: XDG_CACHE_HOME        where the folder lives (default ~/.cache): `cargo clean` must not cost four minutes
#        KUBEBUILDER_ASSETS    when it holds etcd, kube-apiserver and kubectl, those are used and not built
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
started=$SECONDS
kubernetes_version=v1.36.3
helm_version=v4.3.1
set=${1:-control-plane}

# One program a line: set, name, module folder, package, extra build tags ("-" for none), who provides it.
# "kube" programs may come from KUBEBUILDER_ASSETS, "ours" are always built. A new program is a new line (and, when
# its dependencies do not agree with those of a module here, a new folder with go.mod, go.sum and tools.go).
programs() {
    grep -- "^$set " <<'END' | cut -d ' ' -f 2-
control-plane kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver - kube
control-plane kubectl kubernetes k8s.io/kubernetes/cmd/kubectl - kube
control-plane etcd etcd go.etcd.io/etcd/server/v3 - kube
control-plane etcdctl etcdctl go.etcd.io/etcd/etcdctl/v3 - ours
control-plane etcdutl etcdutl go.etcd.io/etcd/etcdutl/v3 - ours
control-plane promtool promtool github.com/prometheus/prometheus/cmd/promtool remove_all_sd ours
control-plane nats-server nats-server github.com/nats-io/nats-server/v2 - ours
node kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager - ours
node kube-scheduler kubernetes k8s.io/kubernetes/cmd/kube-scheduler - ours
node kubelet kubernetes k8s.io/kubernetes/cmd/kubelet - ours
node kube-proxy kubernetes k8s.io/kubernetes/cmd/kube-proxy - ours
node helm helm helm.sh/helm/v4/cmd/helm - ours
node coredns coredns . - ours
END
}

say() {
    printf '%s: %3ds %s\n' "${set/-/ }" "$((SECONDS - started))" "$*" >&2
}

# True when KUBEBUILDER_ASSETS names a folder with all three programs: two of one origin and one of another could
# differ in version, so it is all or none.
has_assets() {
    [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/etcd && -x $KUBEBUILDER_ASSETS/kube-apiserver &&
        -x $KUBEBUILDER_ASSETS/kubectl ]]
}

# The name of the folder: everything that decides what is in it, and nothing of the other set. A changed version is a
# new folder, so a checkout of an older commit finds its own programs again.
key() {
    local hash modules
    mapfile -t modules < <(programs | cut -d ' ' -f 2 | sort -u)
    hash=$(
        cd -- "$here"
        {
            cat -- build.sh "${modules[@]/%//go.mod}" "${modules[@]/%//go.sum}"
            if [[ $set == node ]]; then
                cat -- coredns/main.go
            elif has_assets; then
                printf '%s\n' "$KUBEBUILDER_ASSETS"
            fi
        } | sha256sum
    )
    printf '%s-%s\n' "$kubernetes_version" "${hash:0:12}"
}

need_go() {
    if ! command -v go >/dev/null; then
        echo "tests/control-plane/build.sh needs Go 1.21 or newer to build the programs of the test control plane and" \
            "node: install it from https://go.dev/dl or with your system's packages (golang-go), or set" \
            "KUBEBUILDER_ASSETS and install Go for the remaining tools, then run this again" >&2
        exit 1
    fi
}

# build_one NAME FOLDER PACKAGE TAGS OUTPUT
build_one() {
    local version=k8s.io/component-base/version helm=helm.sh/helm/v4/internal/version tags=()
    [[ $4 == - ]] || tags=(-tags "$4")
    # Without gitVersion the API server calls itself v0.0.0, and kubectl warns about the difference. The linker ignores
    # the names that a program does not have.
    # GOWORK=off and -mod=readonly: the committed go.mod and go.sum decide, not what lies around the checkout.
    (
        cd -- "$here/$2"
        GOWORK=off CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath "${tags[@]}" \
            -ldflags "-s -w -X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 -X $version.gitMinor=36 \
                -X $helm.version=$helm_version" \
            -o "$5/$1" "$3" >&2
    )
}

build_all() {
    local into=$1 name folder package tags origin before
    while read -r name folder package tags origin; do
        if [[ $origin == kube ]] && has_assets; then
            ln -s -- "$KUBEBUILDER_ASSETS/$name" "$into/$name"
            say "$name is taken from KUBEBUILDER_ASSETS"
            continue
        fi
        need_go
        before=$SECONDS
        say "building $name"
        # The list is this loop's standard input: a program that read it would eat the next lines.
        build_one "$name" "$folder" "$package" "$tags" "$into" </dev/null
        say "built $name in $((SECONDS - before)) s"
    done < <(programs)
}

# bring PROGRAM: downloads and unpacks here its package, and those of the libraries that this system lacks.
bring() {
    local packages
    # Only a simulation: it tells what is missing, and needs no root.
    packages=$(apt-get install --simulate --no-install-recommends "$1" |
        awk -v program="$1" '$1 == "Inst" && ($2 == program || $2 ~ /^lib/) { print $2 }') || return
    xargs --no-run-if-empty apt-get download <<<"$packages" >&2 || return
    for package in *.deb; do
        dpkg-deb -x "$package" . || return
    done
}

# take PROGRAM INTO: the system's, or the one of Debian's package, taken out of it without installing anything.
take() {
    local program=$1 into=$2 unpacked libraries
    if type -P "$program" >/dev/null; then
        ln -s -- "$(type -P "$program")" "$into/$program"
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "tests/control-plane/build.sh needs $program: install it with your system's packages, then run this" \
            "again" >&2
        exit 1
    fi
    unpacked=$(mktemp -d -- "$into/.$program.XXXXXX")
    (
        cd -- "$unpacked"
        # A new machine has no package lists yet; bringing them needs root, as installing the program would.
        bring "$program" || { apt-get update >&2 && bring "$program"; }
    )
    mapfile -t libraries < <(find "$unpacked" -path '*/lib/*' -name 'lib*.so*')
    if [[ ${#libraries[@]} == 0 ]]; then
        mv -- "$unpacked/usr/sbin/$program" "$into/$program"
    else
        mkdir -- "$into/$program.d"
        mv -- "$unpacked/usr/sbin/$program" "${libraries[@]}" "$into/$program.d"
        cat >"$into/$program" <<END
#!/bin/sh
# $program with the libraries of its packages.
LD_LIBRARY_PATH=\$(dirname -- "\$(readlink -f -- "\$0")")/$program.d
export LD_LIBRARY_PATH
exec "\$LD_LIBRARY_PATH/$program" "\$@"
END
        chmod 755 -- "$into/$program"
    fi
    rm -rf -- "$unpacked"
    say "took $program out of its package"
}

main() {
    local cache folder building
    if [[ $# -gt 1 || ! $set =~ ^(control-plane|node)$ ]]; then
        echo "usage: tests/control-plane/build.sh [control-plane|node]" >&2
        exit 2
    fi
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait/$set
    folder=$cache/$(key)
    if [[ ! -d $folder ]]; then
        mkdir -p -- "$cache"
        # Two runs side by side: the second waits here and then finds the folder. The kernel frees the lock when its
        # holder ends in any way, so a killed run blocks nobody.
        exec 9>"$cache/lock"
        if ! flock --nonblock 9; then
            say "another run is building; waiting for it"
            flock 9
        fi
        if [[ ! -d $folder ]]; then
            # What a killed run left; nobody else is in here while the lock is held.
            rm -rf -- "$cache"/.building.*
            building=$(mktemp -d -- "$cache/.building.XXXXXX")
            if [[ $set == control-plane ]]; then
                take nginx "$building"
                take haproxy "$building"
            fi
            build_all "$building"
            chmod 755 -- "$building"
            # The rename is what makes the folder complete: it is there with every program, or not at all.
            mv -T -- "$building" "$folder"
            say "all programs are in $folder"
        fi
    fi
    printf '%s\n' "$folder"
}

main "$@"
