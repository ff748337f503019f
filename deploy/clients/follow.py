#!/usr/bin/env python3
"""Keeps FILE as the model at URL is.     usage: follow.py URL FILE     needs: requests

AGENT_ID names this agent (default: the host name), TOKEN_FILE holds a token, WAIT is the longest hold in seconds (25).
"""
import base64, hashlib, os, random, socket, sys, time
import requests

URL, FILE = sys.argv[1], sys.argv[2]
WAIT, MOST = float(os.environ.get("WAIT", "25")), 64 * 1024 * 1024


def write(path, data):
    """Readers see the old file or the new one, whole, also after a crash."""
    with open(path + ".new", "wb") as new:
        new.write(data)
        new.flush()
        os.fsync(new.fileno())
    os.replace(path + ".new", path)


def held():
    """The id of what was held when this ended; without its file it is worth nothing."""
    try:
        with open(FILE, "rb"), open(FILE + ".id", encoding="ascii") as kept:
            return kept.read().strip()
    except OSError:
        return ""


def poll(session, since):
    """One answer and its body. The read timeout is for each piece: a large answer may take long as long as it moves."""
    fields = {"Agent-Id": os.environ.get("AGENT_ID") or socket.gethostname(), "Accept-Encoding": "gzip"}
    if "TOKEN_FILE" in os.environ:
        with open(os.environ["TOKEN_FILE"], encoding="ascii") as token:
            fields["Authorization"] = "Bearer " + token.read().strip()
    with session.get(URL, params={"since": since, "wait": f"{WAIT:g}"}, headers=fields, timeout=(5, WAIT + 10),
                     stream=True, allow_redirects=False) as answer:
        body = bytearray()
        for piece in answer.iter_content(65536):
            body += piece
            if len(body) > MOST:
                raise ValueError(f"the body is over {MOST} bytes")
        return answer, bytes(body)


def main():
    session, since, ceiling, quick = requests.Session(), held(), 0.8, 0
    session.trust_env = False  # No proxy, and no credentials of .netrc.
    while True:
        began = time.monotonic()
        try:
            answer, body = poll(session, since)
            status, field = answer.status_code, answer.headers.get
        except (requests.RequestException, OSError, ValueError) as error:
            status, field, body = 0, lambda name, default="": default, str(error).encode()
        digest = "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"
        if status == 204 and since:
            since, ceiling = field("State-Id"), 0.8
            # The end of a wait. Two at once in a row are a loop.
            quick = quick + 1 if time.monotonic() - began < 1 else 0
            if quick >= 2:
                time.sleep(random.uniform(1, 2))
        elif status == 200 and field("State-Digest") == digest:
            # Apply, keep, and only then acknowledge by polling with the new id.
            write(FILE, body)
            since, ceiling, quick = field("State-Id"), 0.8, 0
            write(FILE + ".id", since.encode())
        else:
            print(f"follow.py: {URL}: status {status}: {body[:300].decode(errors='replace')}", file=sys.stderr, flush=True)
            after = field("Retry-After", "")
            if status in (429, 503) and after.isdigit() and int(after) > 0:
                time.sleep(min(int(after), 300) * random.uniform(1, 1.1))
            elif 200 <= status < 500 and status not in (408, 425, 429):
                # What is wrong with the request or the credential is not mended soon.
                time.sleep(random.uniform(30, 300))
            else:
                # Full jitter: many agents that lost a server together must not come back together.
                time.sleep(max(0.2, random.uniform(0, ceiling)))
            ceiling = min(30, ceiling * 2)


main()
