#!/usr/bin/env python3
"""A script of one's own: keeps a file of host names, as dnsmasq reads it, from the member "hosts" of a model:
{"hosts": {"NAME": "ADDRESS"}}.

usage: tidewait agent --endpoint https://edge.example:8480 --state-dir /var/lib/tidewait-agent/hosts/state \
           --out /etc/edge/model.json --env HOSTS \
           --check '/usr/bin/python3 hosts.py check {}' --exec '/usr/bin/python3 hosts.py apply {}'

(with the whole path of this file). HOSTS names the file that it writes. A command sees only the variables that --env names,
and those that the agent sets (TIDEWAIT_ACTION and so on).

Exit codes: 0 done; 75 try again later, with the same model; any other: the model is bad, and the last line of what is
written to standard error is the reason that people see.
"""

import ipaddress
import json
import os
import re
import sys


def lines(path):
    """The lines for a model, or ValueError with what is wrong with it."""
    with open(path, encoding="utf-8") as file:
        model = json.load(file)
    hosts = model.get("hosts", {}) if isinstance(model, dict) else None
    if not isinstance(hosts, dict):
        raise ValueError('the model is not {"hosts": {"NAME": "ADDRESS"}}')
    for name, address in sorted(hosts.items()):
        if not isinstance(address, str):
            raise ValueError(f"the address of {name!r} is no text")
        if not re.fullmatch(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", name):
            raise ValueError(f"{name!r} is no name of a host")
        yield f"{ipaddress.ip_address(address)} {name}\n"


def replace(path, text):
    """Writes a file beside the old one and renames it: readers see the old or the new one whole."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def main():
    action, path = sys.argv[1:]
    try:
        text = "".join(lines(path))
        if action == "apply":
            replace(os.environ["HOSTS"], text)
    except ValueError as error:
        sys.exit(f"{error}")
    except OSError as error:
        # The machine is at fault, not the model: a full disk, say.
        print(error, file=sys.stderr)
        sys.exit(75)


main()
