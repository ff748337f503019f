"""Reads a stream, and prints each event on a line: its id, its name and its data, in JSON.

usage: read.py httpx|sseclient|ws URL EVENTS [LAST-EVENT-ID]
"""

import json
import sys
from urllib.parse import urlencode

kind, url, events = sys.argv[1:4]
last = sys.argv[4] if len(sys.argv) > 4 else None
headers = {"Accept": "text/event-stream"}
if last:
    headers["Last-Event-ID"] = last
left = int(events)


def put(id, data, name=""):
    global left
    print(json.dumps({"id": id, "event": name, "data": data}), flush=True)
    left -= 1
    if left == 0:
        sys.exit(0)


if kind == "httpx":
    import httpx
    from httpx_sse import connect_sse

    with httpx.Client(timeout=60) as client, connect_sse(client, "GET", url, headers=headers) as source:
        for event in source.iter_sse():
            if event.data:
                put(event.id, event.data, event.event)
elif kind == "sseclient":
    import httpx
    import sseclient

    with httpx.stream("GET", url, headers=headers, timeout=60) as response:
        for event in sseclient.SSEClient(response.iter_bytes()).events():
            if event.data:
                put(event.id or "", event.data, event.event)
else:
    from websockets.sync.client import connect

    target = url.replace("http", "ws", 1) + ("?" + urlencode({"since": last}) if last else "")
    with connect(target, subprotocols=["tidewait.v1"]) as socket:
        for message in socket:
            put("", message)
