"use strict";
// The page of the admin port. What is shown comes from `events`, and all texts, also those that others wrote, are set as text.

const byId = (id) => document.getElementById(id);

// ---- Words

const seconds = (count) => {
  if (count === null || count === undefined) return "";
  if (count < 120) return `${count} s`;
  if (count < 7200) return `${Math.floor(count / 60)} min`;
  return count < 172800 ? `${Math.floor(count / 3600)} h` : `${Math.floor(count / 86400)} days`;
};
const size = (bytes) => {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 10240) return `${bytes} B`;
  return bytes < 10485760 ? `${Math.round(bytes / 1024)} KiB` : `${Math.round(bytes / 1048576)} MiB`;
};
const clock = () => new Date().toLocaleTimeString("en-GB");
/** The version of a state and the begin of its digest. */
const short = (id) => {
  const [, version, digest] = (id ?? "").split(".");
  return digest === undefined ? id ?? "" : `${version}.${digest.slice(0, 8)}`;
};
const MARKS = {
  converged: "good", applying: "warn", lagging: "warn", rejecting: "bad", gone: "warn",
  live: "good", starting: "warn", lost: "bad", current: "good", outdated: "bad",
};
const marked = (word, mark = MARKS[word] ?? "bad") => ({ text: word, mark });

// ---- Tables

/** Sets what a cell says: a text, or `{text, mark}`. */
function put(row, at, cell) {
  let node = row.cells[at];
  if (!node) {
    node = document.createElement(at === 0 ? "th" : "td");
    if (at === 0) node.scope = "row";
    row.append(node);
  }
  const { text, mark, id } = typeof cell === "object" && cell !== null ? cell : { text: cell };
  const said = String(text ?? "");
  const style = mark ? `mark ${mark}` : id ? "id" : "";
  if (node.dataset.style === style && node.textContent === said) return;
  node.dataset.style = style;
  if (!style) {
    node.textContent = said;
    return;
  }
  const inner = document.createElement("span");
  inner.className = style;
  inner.textContent = said;
  node.replaceChildren(inner);
}

/** Makes the rows those of the items, and changes only what is other than before. */
function fill(table, items, keyOf, cells) {
  const body = table.tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const kept = new Set();
  for (const item of items) {
    const key = keyOf(item);
    if (kept.has(key)) continue;
    const row = old.get(key) ?? document.createElement("tr");
    row.dataset.key = key;
    old.delete(key);
    cells(item).forEach((cell, at) => put(row, at, cell));
    const there = body.rows[kept.size] ?? null;
    if (there !== row) body.insertBefore(row, there);
    kept.add(key);
  }
  for (const row of old.values()) row.remove();
  table.closest(".scroll").hidden = items.length === 0;
}

function section(name, items, keyOf, cells) {
  byId(name).querySelector(".none").hidden = items.length > 0;
  fill(byId(`${name}-table`), items, keyOf, cells);
}

/** A table that is made for one operation. */
function newTable(id, columns) {
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  const table = document.createElement("table");
  const caption = table.createCaption();
  caption.id = id;
  scroll.setAttribute("aria-labelledby", id);
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    head.append(cell);
  }
  table.createTBody();
  scroll.append(table);
  return { scroll, table, caption };
}

// ---- The state

const changes = (operation) => {
  if (operation.held) return { text: `held back: removes ${operation.held.removedPercent} %`, mark: "bad" };
  return operation.paused ? { text: "paused", mark: "warn" } : "published at once";
};
const source = ({ status, detail }) => ({ text: detail ? `${status}: ${detail}` : status, mark: MARKS[status] ?? "bad" });
const counted = ({ total, converged, lagging, rejecting }) => {
  if (total === 0) return "none";
  const words = [`${converged} of ${total} converged`];
  if (lagging) words.push(`${lagging} lagging`);
  if (rejecting) words.push(`${rejecting} rejecting`);
  return { text: words.join(", "), mark: rejecting ? "bad" : lagging ? "warn" : "good" };
};
const keptIn = ({ backend, shared }) => (shared && !shared.up ? { text: `${backend}: away`, mark: "bad" } : backend);

function showState(state) {
  byId("version").textContent = state.version;
  byId("clients").textContent = `Clients come to ${state.clients.scheme}://${state.clients.listen}`;
  section("operations", state.operations, (one) => one.name, (one) => [
    one.path ? `${one.name} at ${one.path}` : one.name,
    source(one.source), { text: one.stateId ?? "none yet", id: true }, size(one.bytes), seconds(one.ageSeconds),
    one.parked, counted(one.agents), changes(one),
  ]);
  section("topics", state.topics, (one) => one.name, (one) => [
    one.name, one.path, one.messages, size(one.bytes), { text: one.last, id: true }, one.readers, keptIn(one),
  ]);
  section("exchanges", state.exchanges, (one) => one.name, (one) => [
    one.name, one.path, one.queued, one.queued ? seconds(one.oldestSeconds) : "", one.inFlight, one.freeSlots,
    one.workers.length || { text: "none", mark: one.queued ? "bad" : "idle" },
    one.dead.length ? { text: one.dead.length, mark: "bad" } : 0, keptIn(one),
  ]);
  const workers = state.exchanges.flatMap((exchange) => exchange.workers.map((one) => ({ exchange: exchange.name, ...one })));
  const keyOf = ({ exchange, worker }) => JSON.stringify([exchange, worker]);
  fill(byId("workers-table"), workers, keyOf, ({ exchange, worker, busySlots, freeSlots, ageSeconds }) => [
    worker.identity ?? worker.agentId ?? "without a name", exchange, worker.transport, busySlots, freeSlots,
    seconds(ageSeconds), worker.peer,
  ]);
  const followed = [
    ...state.files.map((file) => [file.holds, file.paths.join(", "), marked(file.status), file.detail, file.daysLeft]),
    ...state.issuers.map((issuer) => ["keys of an issuer", issuer.url, marked(issuer.status), issuer.detail, null]),
  ];
  byId("followed").hidden = followed.length === 0;
  fill(byId("followed-table"), followed, (one) => `${one[0]} ${one[1]}`, (one) => one);
  demonstration.offer(state);
}

// ---- Agents

const AGENTS = ["Agent", "State", "Holds", "Rejects", "Reason", "For", "Last seen", "From"];
const RELAYS = ["Relay", "Serves", "Agents below it", "Furthest behind", "Last report", "From"];
/** What is shown of each operation. */
const operations = new Map();

function showAgents(page) {
  let shown = operations.get(page.operation);
  if (!shown) {
    const id = `agents-${operations.size}-${Date.now()}`;
    shown = { agents: newTable(id, AGENTS), relays: newTable(`${id}-relays`, RELAYS) };
    operations.set(page.operation, shown);
    byId("agents-tables").append(shown.agents.scroll, shown.relays.scroll);
  }
  const held = (id) => (id === null ? "" : id === page.stateId ? "the current state" : { text: short(id), id: true });
  const { agents, relays } = shown;
  agents.caption.textContent = page.more
    ? `Agents of ${page.operation}: the first ${page.agents.length}, those that reject or lag before others; /agents lists all`
    : `Agents of ${page.operation}: ${page.agents.length}`;
  const keyOf = (agent) => `${agent.authenticated} ${agent.name}`;
  fill(agents.table, page.agents, keyOf, (agent) => [
    agent.select ? `${agent.name}, of ${agent.select.join(", ")}` : agent.name,
    marked(agent.state), held(agent.holds), held(agent.rejects), agent.reason,
    seconds(agent.rejectingSeconds ?? agent.laggingSeconds), `${seconds(agent.lastSeenSeconds)} ago`,
    `${agent.peer}${agent.authenticated ? ", authenticated" : ""}${agent.duplicate ? ", twice under one name" : ""}`,
  ]);
  relays.caption.textContent = `Relays of ${page.operation}: ${page.relays.length}`;
  fill(relays.table, page.relays, (relay) => `${relay.identity} ${relay.instance}`, (relay) => [
    relay.identity ? `${relay.identity}, ${relay.instance}` : relay.instance, held(relay.serves), counted(relay),
    relay.worst.map((one) => (one.reason ? `${one.name}: ${one.reason}` : one.name)).join("; "),
    relay.gone ? marked("gone") : `${seconds(relay.ageSeconds)} ago`, relay.peer,
  ]);
  noAgents();
}

function noAgents() {
  const some = [...operations.values()].some(({ agents, relays }) => !agents.scroll.hidden || !relays.scroll.hidden);
  byId("agents").querySelector(".none").hidden = some;
}

function forget({ operation }) {
  const shown = operations.get(operation);
  shown?.agents.scroll.remove();
  shown?.relays.scroll.remove();
  operations.delete(operation);
  noAgents();
}

// ---- The stream of events

/** A server that says nothing for so long is gone: it says something each 5 s. */
const SILENCE = 20000;
/** After which time a stream is asked for again that was refused by a status. */
const AGAIN = 10000;
let stream;
let heard = performance.now();
let why = "";

function say(text, mark) {
  const node = byId("link");
  if (node.textContent !== text) node.textContent = text;
  node.className = `mark ${mark}`;
}

function connect() {
  const own = new EventSource("events");
  stream = own;
  heard = performance.now();
  let told = new Set();
  const on = (name, show) => own.addEventListener(name, (event) => {
    heard = performance.now();
    show(JSON.parse(event.data));
  });
  own.addEventListener("open", () => {
    heard = performance.now();
    told = new Set();
  });
  on("state", (state) => {
    say("live", "good");
    why = "";
    // Operations that went while nobody listened.
    const there = new Set(state.operations.map((one) => one.name));
    for (const operation of [...operations.keys()]) if (!there.has(operation)) forget({ operation });
    showState(state);
  });
  on("agents", showAgents);
  on("gone", forget);
  on("ping", () => {});
  on("busy", () => { why = "too many pages are open, or the server stops"; });
  on("move", () => { why = "the server stops"; });
  on("auth", ({ reason }) => { why = reason; });
  own.addEventListener("error", () => {
    if (own !== stream) return;
    if (own.readyState === EventSource.CLOSED) {
      say(`ended at ${clock()}: the server refuses the stream, and is asked again each ${AGAIN / 1000} s`, "bad");
      setTimeout(connect, AGAIN);
    } else if (!byId("link").textContent.startsWith("reconnecting")) {
      say(`reconnecting since ${clock()}${why ? `: ${why}` : ""}`, "warn");
    }
  });
}

setInterval(() => {
  if (stream.readyState !== EventSource.OPEN || performance.now() - heard < SILENCE) return;
  stream.close();
  say(`reconnecting since ${clock()}: nothing was heard for ${SILENCE / 1000} s`, "warn");
  connect();
}, 5000);

// ---- The demonstration

const POLL_EACH = 3000;
const DELAYS = 1000;
const SHOWN = 8;
const bytesOf = (text) => new TextEncoder().encode(text).length;
const pause = (time, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, time);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});
/** Browsers have no jitter of their own. */
const jitter = () => 2000 + Math.random() * 3000;

/** One of the four ways to read. */
class Way {
  constructor(name, how) {
    this.node = byId("way").content.firstElementChild.cloneNode(true);
    this.node.querySelector("h3").textContent = name;
    this.node.querySelector("h3").id = `way-${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
    this.node.setAttribute("aria-labelledby", this.node.querySelector("h3").id);
    this.node.querySelector(".how").textContent = how;
    byId("ways").append(this.node);
    this.clear();
  }

  clear() {
    Object.assign(this, { messages: 0, requests: 0, bytes: 0, missed: 0, note: "", delays: [], last: [], isNew: true });
    paint();
  }

  /** A message has come, and was sent as so many bytes. */
  take(message, run) {
    this.messages += 1;
    let sent;
    try {
      sent = JSON.parse(message.data);
    } catch {
      // A text of somebody else.
    }
    let text = typeof message.data === "string" ? message.data : JSON.stringify(message.data);
    if (sent?.run === run) {
      const delay = performance.now() - sent.sent;
      this.delays.push(delay);
      if (this.delays.length > DELAYS) this.delays.shift();
      text = `message ${sent.n}, after ${delay < 100 ? delay.toFixed(1) : Math.round(delay)} ms`;
    }
    this.last.unshift(text);
    this.last.length = Math.min(this.last.length, SHOWN);
    this.changed();
  }

  gap(gap) {
    if (gap) this.missed += gap.missed ?? 0;
  }

  say(note) {
    this.note = note;
    this.changed();
  }

  changed() {
    this.isNew = true;
    paint();
  }

  paint() {
    if (!this.isNew) return;
    this.isNew = false;
    const sorted = [...this.delays].sort((a, b) => a - b);
    const at = (share) => (sorted.length ? `${sorted[Math.ceil(sorted.length * share) - 1].toFixed(sorted[0] < 100 ? 1 : 0)} ms` : "–");
    const per = (count, digits) => (this.messages ? (count / this.messages).toFixed(digits) : "–");
    const set = (name, text) => { this.node.querySelector(`.${name}`).textContent = text; };
    set("p50", at(0.5));
    set("p99", at(0.99));
    set("messages", this.missed ? `${this.messages}, ${this.missed} missed` : this.messages);
    set("requests", per(this.requests, 3));
    set("bytes", per(this.bytes, 0));
    set("note", this.note);
    const list = this.node.querySelector(".last");
    while (list.children.length < this.last.length) list.append(document.createElement("li"));
    while (list.children.length > this.last.length) list.lastChild.remove();
    this.last.forEach((text, index) => { list.children[index].textContent = text; });
  }
}

let isPainting = false;
function paint() {
  if (isPainting) return;
  isPainting = true;
  requestAnimationFrame(() => {
    isPainting = false;
    demonstration.ways.forEach((way) => way.paint());
    demonstration.paint();
  });
}

/** Reads by one request after the other; with `each` so many milliseconds apart, else parked until there is something. */
async function poll(way, run, each) {
  let next = run.next;
  while (!run.signal.aborted) {
    if (each) await pause(each, run.signal);
    if (run.signal.aborted) return;
    way.requests += 1;
    way.changed();
    try {
      const answer = await fetch(`${run.url}?since=${encodeURIComponent(next)}&wait=${each ? 0 : 25}&limit=1000`, { signal: run.signal });
      const text = await answer.text();
      way.bytes += bytesOf(text);
      if (answer.status === 200) {
        const page = JSON.parse(text);
        next = page.next;
        way.gap(page.gap);
        page.messages.forEach((message) => way.take(message, run.id));
        way.say("");
      } else if (answer.status !== 204) {
        way.say(`answered with ${answer.status}`);
        await pause(jitter(), run.signal);
      }
    } catch (error) {
      if (run.signal.aborted) return;
      way.say(`failed at ${clock()}: ${error.message}`);
      await pause(jitter(), run.signal);
    }
  }
}

/** Reads server-sent events; resolves once they begin. */
const events = (way, run) => new Promise((resolve) => {
  const source = new EventSource(`${run.url}?since=${encodeURIComponent(run.next)}&envelope=1`);
  way.requests += 1;
  source.addEventListener("open", () => { way.say(""); resolve(); });
  source.addEventListener("message", ({ data, lastEventId }) => {
    way.bytes += bytesOf(`id: ${lastEventId}\ndata: ${data}\n\n`);
    way.take(JSON.parse(data), run.id);
  });
  source.addEventListener("gap", ({ data }) => way.gap(JSON.parse(data)));
  source.addEventListener("error", () => {
    const isOver = source.readyState === EventSource.CLOSED;
    way.say(isOver ? "the server refuses the stream" : `reconnecting since ${clock()}`);
    if (!isOver) way.requests += 1;
    resolve();
  });
  run.signal.addEventListener("abort", () => source.close());
});

/** Reads over WebSocket; resolves once it is open. */
const webSocket = (way, run) => new Promise((resolve) => {
  let since = run.next;
  const open = () => {
    if (run.signal.aborted) return;
    const socket = new WebSocket(`${run.url.replace(/^http/, "ws")}?since=${encodeURIComponent(since)}`, ["tidewait.v1"]);
    const close = () => socket.close();
    way.requests += 1;
    socket.addEventListener("open", () => { way.say(""); resolve(); });
    socket.addEventListener("message", ({ data }) => {
      const said = JSON.parse(data);
      if (said.type === "gap") way.gap(said);
      if (said.type !== "message") return;
      way.bytes += bytesOf(data);
      since = said.message.id;
      way.take(said.message, run.id);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      run.signal.removeEventListener("abort", close);
      resolve();
      if (run.signal.aborted) return;
      way.say(`closed with ${code}${reason ? ` ${reason}` : ""} at ${clock()}`);
      pause(jitter(), run.signal).then(open);
    });
    run.signal.addEventListener("abort", close);
  };
  open();
});

/** Publishes at the rate that is set. */
async function publish(run) {
  let due = performance.now();
  while (!run.signal.aborted) {
    const now = performance.now();
    // Who was held up does not catch up.
    due = Math.max(due + 1000 / byId("rate").valueAsNumber, now - 50);
    await pause(due - now, run.signal);
    // A browser has six connections to a server, and three of them read.
    if (run.signal.aborted || run.underWay >= 3) continue;
    run.underWay += 1;
    run.count += 1;
    const body = JSON.stringify({ run: run.id, n: run.count, sent: performance.now() });
    // Text without further fields: the browser asks nobody before it sends this.
    fetch(`${run.url}?name=page`, { method: "POST", body, headers: { "Content-Type": "text/plain" }, signal: run.signal })
      .then((answer) => { if (answer.status !== 201) run.refused(`the last one with ${answer.status}`); })
      .catch((error) => { if (!run.signal.aborted) run.refused(error.message); })
      .finally(() => { run.underWay -= 1; paint(); });
  }
}

const demonstration = {
  ways: [],
  run: null,
  isChosen: false,

  begin() {
    this.ways = [
      new Way("Poll each 3 s", "Asks, is answered at once, and waits 3\u00a0s."),
      new Way("Long poll", "Asks, and is answered when there is something."),
      new Way("Server-sent events", "One answer that does not end, by EventSource."),
      new Way("WebSocket", "One connection, subprotocol tidewait.v1."),
    ];
    const preset = new URLSearchParams(location.search);
    byId("server").value = preset.get("server") ?? "";
    byId("topic").value = preset.get("topic") ?? "";
    this.isChosen = preset.has("server");
    byId("server").addEventListener("input", () => { this.isChosen = true; });
    byId("rate").addEventListener("input", () => { byId("rate-shown").textContent = byId("rate").value; });
    byId("demo").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.run) this.stop("stopped");
      else this.start();
    });
  },

  /** Offers what this server has. */
  offer({ clients, topics }) {
    const paths = topics.map((topic) => topic.path);
    const list = byId("topic-paths");
    if (list.dataset.paths !== paths.join("\n")) {
      list.dataset.paths = paths.join("\n");
      list.replaceChildren(...paths.map((path) => new Option(path, path)));
    }
    if (!byId("topic").value && paths.length) byId("topic").value = paths[0];
    const port = clients.listen.split(":").pop();
    if (!this.isChosen) byId("server").value = `${clients.scheme}://${location.hostname}:${port}`;
    this.isChosen = true;
  },

  say(text) {
    byId("demo-status").textContent = text;
  },

  async start() {
    const server = byId("server").value.replace(/\/+$/, "");
    const stopping = new AbortController();
    const run = {
      id: crypto.getRandomValues(new Uint32Array(2)).join("-"), url: server + byId("topic").value, signal: stopping.signal, stopping,
      count: 0, underWay: 0, failed: 0, why: "",
      refused(reason) { this.failed += 1; this.why = reason; },
    };
    this.run = run;
    this.ways.forEach((way) => way.clear());
    byId("toggle").textContent = "Stop";
    this.say(`asks ${run.url}`);
    try {
      const answer = await fetch(`${run.url}?from=latest&wait=0`, { signal: run.signal });
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        this.stop(`${run.url} answers with ${answer.status}: ${problem.detail ?? problem.title ?? "is it the path of a topic?"}`);
        return;
      }
      run.next = (await answer.json()).next;
      if (typeof run.next !== "string") throw new TypeError("that is no topic");
    } catch (error) {
      if (run.signal.aborted) return;
      this.stop(`This page cannot read ${run.url} (${error.message}). If a server with this topic runs there, start it with `
        + `--access-origins ${location.origin}, so that it lets this page in.`);
      return;
    }
    const [slow, long, sse, socket] = this.ways;
    poll(slow, run, POLL_EACH);
    poll(long, run, 0);
    // The first messages are to find both streams open.
    await Promise.race([Promise.all([events(sse, run), webSocket(socket, run)]), pause(5000, run.signal)]);
    if (run.signal.aborted) return;
    this.say(`running: ${run.url}`);
    publish(run);
  },

  stop(why) {
    this.run.stopping.abort();
    this.run = null;
    byId("toggle").textContent = "Start";
    this.say(why);
  },

  paint() {
    const { run } = this;
    if (!run) return;
    const refused = run.failed ? `, ${run.failed} of them refused (${run.why})` : "";
    byId("published").textContent = run.count ? `Messages sent: ${run.count}${refused}` : "";
  },
};

demonstration.begin();
connect();
