#!/bin/sh
# A firewall that follows a model. The member "nftables" of the model is a script for nft, such as
#   table inet edge
#   delete table inet edge
#   table inet edge { chain input { type filter hook input priority filter; policy drop; ct state established accept; }; }
# whose first two lines make it the whole truth about its table, whatever is loaded. nft loads all of a script or nothing.
#
# usage: ENDPOINT=https://edge.example:8480 nftables.sh [MORE OPTIONS]
# If nft does not take a script, nothing is touched, and /agents of the server shows the first error that it names. If the
# table is not there afterwards, the script before is loaded again. None of this asks whether the server can be reached:
# rules that cut it off are kept until the model changes, so let them through what leads there.
rules=${RULES:-/etc/nftables-edge.nft}
state=${STATE_DIR:-/var/lib/tidewait-agent/firewall/state}

# The last line of what a command writes is the reason that people see.
exec tidewait agent --endpoint "${ENDPOINT:?the URL of a server}" --state-dir "$state" \
    --out "/nftables=$rules" --format string --mode 0600 --shell \
    --check 'said=$(nft -c -f {} 2>&1) || { echo "$said"; echo "$said" | grep -m 1 Error:; exit 1; } >&2' \
    --exec 'nft -f {}' \
    --verify 'nft list table inet edge >/dev/null || { echo "table inet edge is not there" >&2; exit 1; }' --verify-for 0 \
    "$@"
