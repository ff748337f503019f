// Reads a stream, and prints each event on a line: its id, its name and its data, in JSON.
//
// usage: read.js fetch|eventsource|ws URL EVENTS [LAST-EVENT-ID]
import { EventSource } from "eventsource";
import WebSocket from "ws";

const [kind, url, events, last] = process.argv.slice(2);
const headers = last ? { "Last-Event-ID": last } : {};
let left = Number(events);

function print(id, event, data) {
  process.stdout.write(JSON.stringify({ id, event, data }) + "\n");
  left -= 1;
  if (left === 0) {
    process.exit(0);
  }
}

if (kind === "eventsource") {
  const fetchFrom = (input, init) => fetch(input, { ...init, headers: { ...headers, ...init.headers } });
  const source = new EventSource(url, { fetch: fetchFrom });
  for (const name of ["message", "same", "gap", "end", "auth", "busy", "move"]) {
    source.addEventListener(name, (event) => print(event.lastEventId, event.type, event.data));
  }
} else if (kind === "fetch") {
  const response = await fetch(url, { headers: { ...headers, Accept: "text/event-stream" } });
  let id = "";
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split("\n")) {
        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "id") id = value;
        if (name === "event") event = value;
        if (name === "data") data.push(value);
      }
      if (data.length > 0) print(id, event, data.join("\n"));
    }
  }
} else {
  const target = new URL(url.replace("http", "ws"));
  if (last) target.searchParams.set("since", last);
  const socket = new WebSocket(target, ["tidewait.v1"]);
  socket.on("message", (data) => print("", "", data.toString()));
}
