#!/bin/sh
# nginx with the configuration that a model has. The member "nginx" of the model is the text of nginx.conf.
#
# usage: ENDPOINT=https://edge.example:8480 nginx.sh [MORE OPTIONS]
# If nginx does not take a configuration, nothing is touched, and /agents of the server shows the first error that it names.
# The check runs beside the old file, so relative paths mean what they will.
config=${CONFIG:-/etc/nginx/nginx.conf}
state=${STATE_DIR:-/var/lib/tidewait-agent/nginx/state}

# The last line of what a command writes is the reason that people see.
exec tidewait agent --endpoint "${ENDPOINT:?the URL of a server}" --state-dir "$state" \
    --out "/nginx=$config" --format string --mode 0644 --shell \
    --check 'said=$(nginx -t -q -c {} 2>&1) || { echo "$said"; echo "$said" | grep -m 1 emerg; exit 1; } >&2' \
    --exec 'nginx -s reload -c {}' \
    "$@"
