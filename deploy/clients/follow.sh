#!/bin/sh
# Keeps FILE as the model at URL is.     usage: follow.sh URL FILE     needs: curl, jq, openssl, awk, od
# AGENT_ID names this agent (default: the host name), TOKEN_FILE holds a token, WAIT is the longest hold in seconds (25).
set -eu
url=$1 file=$2 agent=${AGENT_ID:-$(hostname)} wait=${WAIT:-25}
head=$file.head new=$file.new ceiling=800 quick=0
trap 'rm -f "$head" "$new" "$head.status" "$file.id.new"' EXIT
# A shell hears a signal only between two commands, or while it waits for one in the background.
child=
trap 'if [ -n "$child" ]; then kill "$child" 2>/dev/null || :; fi; exit 1' INT TERM

# The value of a field of the last answer.
field() {
    tr -d '\r' <"$head" | awk -v name="$1" '{ at = index($0, ":") }
        tolower(substr($0, 1, at - 1)) == name { value = substr($0, at + 1); sub(/^ */, "", value); print value; exit }'
}

# Sleeps a random part of $2 ms, at least $1 ms: many agents that lost a server together must not come back together.
pause() {
    random=$(od -An -N4 -tu4 /dev/urandom)
    sleep "$(awk -v least="$1" -v most="$2" -v random="$random" 'BEGIN {
        ms = most * random / 4294967296; printf "%.3f", (ms < least ? least : ms) / 1000 }')" &
    child=$!
    wait "$child"
    child=
}

# One poll, whose status is in $head.status. The token does not go on the command line, where others could read it. An answer may
# take long as long as it moves: no byte for the wait and 10 s is a dead connection.
poll() {
    token=
    if [ -n "${TOKEN_FILE:-}" ]; then token="header = \"Authorization: Bearer $(cat "$TOKEN_FILE")\""; fi
    curl --config - --silent --show-error --get --data-urlencode "since=$id" --data "wait=$wait" \
        --header "Agent-Id: $agent" --compressed --connect-timeout 5 --speed-limit 1 --speed-time $((wait + 10)) \
        --max-filesize 67108864 --dump-header "$head" --output "$new" --write-out '%{http_code}' "$url" \
        >"$head.status" <<END &
$token
END
    child=$!
    ended=0
    wait "$child" || ended=$?
    child=
    return "$ended"
}

# What was held when this ended; without its file it is worth nothing.
id=
if [ -f "$file" ] && [ -f "$file.id" ]; then id=$(cat "$file.id"); fi
while :; do
    : >"$head" >"$new"
    began=$(date +%s)
    if poll; then status=$(cat "$head.status"); else status=000; fi
    digest=$(openssl dgst -sha256 -binary <"$new" | openssl base64)
    if [ "$status" = 204 ] && [ -n "$id" ]; then
        id=$(field state-id) ceiling=800
        # The end of a wait. Two at once in a row are a loop.
        if [ $(($(date +%s) - began)) -gt 1 ]; then quick=0; else quick=$((quick + 1)); fi
        if [ "$quick" -ge 2 ]; then pause 1000 2000; fi
    elif [ "$status" = 200 ] && [ "$(field state-digest)" = "sha-256=:$digest:" ] && jq empty <"$new" 2>/dev/null; then
        # Apply, keep, and only then acknowledge by polling with the new id.
        mv "$new" "$file"
        id=$(field state-id) ceiling=800 quick=0
        printf '%s\n' "$id" >"$file.id.new"
        mv "$file.id.new" "$file.id"
    else
        after=$(field retry-after)
        echo "follow.sh: $url: status $status: $(jq -r '.detail // .title // empty' <"$new" 2>/dev/null || :)" >&2
        case $status,$after in
        429,[1-9]* | 503,[1-9]*) if [ "$after" -gt 300 ]; then after=300; fi; pause $((after * 1000)) $((after * 1100)) ;;
        408,* | 425,* | 429,*) pause 200 "$ceiling" ;;
        # What is wrong with the request or the credential is not mended soon; 200 and 3xx here are not of a describe endpoint.
        [234]*) pause 30000 300000 ;;
        *) pause 200 "$ceiling" ;;
        esac
        ceiling=$((ceiling * 2 > 30000 ? 30000 : ceiling * 2))
    fi
done
