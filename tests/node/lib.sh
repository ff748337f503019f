# Names, folders and messages of the test node, for the scripts beside this file; sourced, not run.
#
# A node has a NAME. From it follow a cgroup tidewait-NAME and an entry in the user's cache folder: a link NAME to the
# node's folder. Everything else of a node lies in its folder, or in namespaces that end with its first process.
# shellcheck shell=bash

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
started=$SECONDS
nodes=${XDG_CACHE_HOME:-$HOME/.cache}/tidewait/nodes

# The node's own network: nothing outside of its namespace sees these addresses, so every node has the same.
node_ip=192.168.77.2
gateway_ip=192.168.77.1
pods=10.244.0.0/24
services=10.96.0.0/16
dns_ip=10.96.0.10

say() {
    printf 'node: %3ds %s\n' "$((SECONDS - started))" "$*" >&2
}

die() {
    printf 'node: %s\n' "$*" >&2
    exit 1
}

# Namespaces, mounts and cgroups are the root user's to make.
need_root() {
    [[ $EUID -eq 0 ]] || die "tests/node/${0##*/} makes namespaces, mounts and cgroups, which only root may:" \
        "run it as root (sudo -E)"
}

# use_name NAME: sets what follows from the name of a node.
use_name() {
    name=$1
    [[ $name =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "a node's name has 1 to 31 of a-z, 0-9 and - (not first): \"$name\""
    instance=tidewait-$name
    entry=$nodes/$name
    # Empty when there is no such node.
    dir=$(readlink -- "$entry") || dir=
}

# One script at a time changes a node. The kernel frees the lock when its holder ends in any way. The file goes with
# the node, so whoever waited for one that is gone waits for the next.
lock_node() {
    mkdir -p -- "$nodes"
    while :; do
        exec 9>"$entry.lock"
        if ! flock --nonblock 9; then
            say "another script is at work on node $name; waiting for it"
            flock 9
        fi
        if [[ /proc/self/fd/9 -ef $entry.lock ]]; then return; fi
    done
}

# The first process of the node, as seen from here; fails when it does not run. A pid alone could be another's by now,
# but not within the node's network namespace, which is mounted on the file `net` as long as the machine is up.
first_process() {
    local pid
    [[ -n $dir && -s $dir/pid ]] || return
    pid=$(<"$dir/pid")
    [[ /proc/$pid/ns/net -ef $dir/net ]] || return
    printf '%s\n' "$pid"
}

# check_places PATH...: fails for what would be hidden where other folders stand in for the machine's.
check_places() {
    local place
    for place in "$@"; do
        case $(realpath -- "$place")/ in
        /run/* | /var/lib/* | /var/log/* | /proc/*)
            die "$place lies where a node has folders of its own (/run, /var/lib, /var/log): set TMPDIR," \
                "TIDEWAIT_NODE_DIR or XDG_CACHE_HOME to another place, or move the checkout"
            ;;
        esac
    done
}

# The folders of the programs, built if need be.
use_programs() {
    local built
    built=$("$here/../control-plane/build.sh") || exit
    control_plane=$built
    built=$("$here/../control-plane/build.sh" node) || exit
    node_programs=$built
}
