// The panels of a vassal's page: tables and lists that are renewed in place.

/** A panel with a heading, a count and a body; it hides when it has nothing. */
function panel(title) {
  const number = el("span", { class: "faint" });
  const heading = el("h2", {}, `${title} `, number);
  const body = el("div", { class: "body" });
  const node = el("section", { class: "panel", "aria-label": title, hidden: true }, heading, body);
  return { node, body, number, heading, fill: null };
}

function showPanel(part, n) {
  show(part.node, n > 0);
  put(part.number, n > 0 ? String(n) : "");
}

/** The table of a panel, made at its first use. */
function rowsOf(part, columns) {
  part.rows ??= part.body.appendChild(el("table", {},
    el("thead", {}, el("tr", {}, ...columns.map(([name, number]) => el("th", { scope: "col", class: number ? "number" : "", text: name })))),
    el("tbody")));
  return part.rows.tBodies[0];
}

/** A row whose cells are texts, renewed by `texts`; `more` is put into the last one. */
function textRow(columns, texts, more) {
  const cells = columns.map(([name, number]) => el("td", { class: number ? "number" : "", "data-label": name }));
  if (more) cells.at(-1).append(more.node);
  const node = el("tr", {}, ...cells);
  return {
    node,
    update(item) {
      texts(item, node).forEach((text, n) => put(cells[n], text));
      more?.update(item);
    },
  };
}

const REQUESTS = [["Request"], ["Running for", true], ["Worker"], [""]];

function drawRequests(part, vassal, workers) {
  const all = workers.flatMap((worker) => worker.running.map((request) => ({ ...request, worker })));
  all.sort((a, b) => b.for_ms - a.for_ms);
  showPanel(part, all.length);
  list(rowsOf(part, REQUESTS), all, (request) => `${request.id} ${request.worker.pid}`, () => {
    let now;
    const button = el("button", { type: "button", class: "quiet danger", text: "Kill…", onclick: () => killRequest(vassal, now) });
    const more = { node: button, update(item) { now = item; show(button, may("operate", vassal.name)); } };
    const texts = (request, row) => {
      mark(row, "data-tone", request.for_ms > 10_000 ? "bad" : request.for_ms > 1000 ? "warn" : null);
      return [request.request ?? "(shown to those who may operate)", millis(request.for_ms * 1000), `${request.worker.id}, thread ${request.core}`];
    };
    return textRow(REQUESTS, texts, more);
  });
}

const WORKERS = [["#", true], ["Pid", true], ["Does"], ["Requests", true], ["Average", true], ["Exceptions", true], ["Memory", true], ["Connections", true], ["Age", true], ["Gen.", true], [""]];

function drawWorkers(part, vassal, workers) {
  showPanel(part, workers.length);
  list(rowsOf(part, WORKERS), workers, (worker) => `${worker.id} ${worker.pid} ${worker.generation}`, () => {
    let now;
    const button = el("button", { type: "button", class: "quiet", text: "Stacks", title: "Where its threads are now", onclick: () => showStacks(vassal, now) });
    const more = { node: button, update(item) { now = item; show(button, may("operate", vassal.name)); } };
    const texts = (worker, row) => {
      mark(row, "data-tone", { busy: "busy", idle: null, "not-accepting": "off" }[worker.state]);
      return [String(worker.id), String(worker.pid), doing(worker), count(worker.requests), worker.requests ? millis(worker.running_us / worker.requests) : NOTHING,
        count(worker.exceptions), bytes(worker.rss_bytes), String(worker.connections), since(worker.since), String(worker.generation)];
    };
    return textRow(WORKERS, texts, more);
  });
}

function doing({ state, running }) {
  if (running.length === 0) return state === "idle" ? "idle" : "loads, or finishes";
  const [first] = running;
  const more = running.length > 1 ? ` and ${running.length - 1} more` : "";
  return `${first.request ?? "busy"} for ${millis(first.for_ms * 1000)}${more}`;
}

const CACHES = [["Cache"], ["Items", true], ["Hits", true], ["Misses", true], ["Found", true], ["Had no room", true], ["Changed", true]];

/** The caches that its processes share. */
function drawCaches(part, caches) {
  showPanel(part, caches.length);
  list(rowsOf(part, CACHES), caches, (cache) => cache.name, () => textRow(CACHES, (cache, row) => {
    mark(row, "data-tone", cache.full > 0 ? "warn" : null);
    const asked = cache.hits + cache.misses;
    return [plain(cache.name), `${count(cache.items)} of ${count(cache.max_items)}`, count(cache.hits), count(cache.misses),
      asked ? `${Math.floor((cache.hits / asked) * 100)} %` : NOTHING, cache.full ? plural(cache.full, "time") : "never", cache.changed ? ago(cache.changed) : "never"];
  }));
}

/** The failures that there are: what is wrong with the file, the last reload, the last failure. */
function drawFailures(node, vassal, detail) {
  const whole = detail?.name === vassal.name ? detail : vassal;
  const { config_error: file, last_failure: last, last_reload: reloaded, shortfall } = whole;
  const all = [
    file && { title: "The file does not work", failure: file },
    reloaded?.failure && { title: `The last reload: ${outcomeOf(reloaded).word}`, when: reloaded.ended, failure: reloaded.failure },
    shortfall && { title: "Fewer workers than there are to be", failure: shortfall },
    last && { title: isTrouble(vassal) ? "The last failure" : "An earlier failure", failure: last, past: !isTrouble(vassal) },
  ].filter(Boolean);
  // One failure may be known by two names.
  const told = all.filter((one, n) => all.findIndex((other) => other.failure.message === one.failure.message) === n);
  list(node, told, (one) => JSON.stringify([one.title, one.failure]), (one) => {
    const when = el("span", { class: "faint" });
    const parts = failureParts(one.failure);
    const part = one.past
      ? el("details", { class: "panel" }, el("summary", { text: one.title }), ...parts)
      : el("section", { class: "panel failure", "aria-label": one.title }, el("h2", {}, `${one.title} `, when), ...parts);
    return { node: part, update: (now) => put(when, now.when ? ago(now.when) : "") };
  });
}

function drawWarnings(part, warnings) {
  showPanel(part, warnings.length);
  const items = part.items ??= part.body.appendChild(el("ul", { class: "mistakes" }));
  list(items, warnings, (one) => JSON.stringify(one), (one) => ({
    node: el("li", {}, el("code", { text: `${one.file}${one.line ? `:${one.line}` : ""}` }), ` ${one.option ? `${one.option}: ` : ""}${one.message}`,
      one.suggestion && el("div", { class: "hint", text: one.suggestion })),
    update() {},
  }));
}

function drawBoxes(part, boxes) {
  showPanel(part, boxes.length);
  const all = [...boxes].reverse();
  const items = part.items ??= part.body.appendChild(el("div"));
  list(items, all, (box) => `${box.at} ${box.pid}`, (box) => {
    const when = el("span", { class: "faint" });
    const running = box.last.filter((one) => one.running).length;
    const rows = box.last.map((one) => el("li", {}, el("b", { text: one.running ? "ran" : "had run" }), ` thread ${one.core}, since ${clock(one.started)}: `,
      el("code", { text: one.request ?? "(shown to those who may operate)" })));
    const node = el("details", { class: "box" },
      el("summary", {}, el("b", { text: `worker ${box.worker}` }), ` (pid ${box.pid}) died: ${box.how}${{ harakiri: ", harakiri", "out-of-memory": ", the kernel killed it: out of memory", operator: ", its request was killed by an operator" }[box.cause] || ""}${running ? `, in ${plural(running, "request")}` : ", idle"} `, when),
      el("p", { class: "faint", text: `Generation ${box.generation}, forked ${clock(box.since)}, ${plural(box.requests, "request")} answered.` }),
      rows.length > 0 && el("ul", { class: "mistakes" }, ...rows),
      box.log?.length > 0 && el("pre", { class: "traceback", tabindex: "0", "aria-label": "Its last output", text: box.log.map((line) => plain(line.text)).join("\n") }));
    return { node, update: () => put(when, ago(box.at)) };
  });
}

function drawSockets(part, vassal, companions) {
  showPanel(part, vassal.sockets.length + companions.length);
  const items = part.items ??= part.body.appendChild(el("ul", { class: "sockets" }));
  const all = [
    ...vassal.sockets.map((one) => ({ key: `s ${one.address}`, name: one.address, what: one.protocol ? `listens, ${one.protocol}` : "listens" })),
    ...companions.map((one) => ({ key: `p ${one.pid}`, name: one.name, what: `pid ${one.pid}, ${bytes(one.rss_bytes)}` })),
  ];
  list(items, all, (one) => one.key, (one) => {
    const what = el("span", { class: "faint" });
    return { node: el("li", {}, el("code", { text: one.name }), " ", what), update: (now) => put(what, now.what) };
  });
}

const ATTACHED_TONES = { running: "good", resting: "bad", starting: "busy", stopping: "busy", waiting: "off" };

/** The daemons and timed commands that the file attaches. */
function drawAttached(part, attached) {
  showPanel(part, attached.length);
  const items = part.items ??= part.body.appendChild(el("ul", { class: "sockets" }));
  list(items, attached.map((one, at) => ({ ...one, at })), (one) => `${one.at} ${one.name}`, (one) => {
    const state = el("b", { class: "outcome" });
    const what = el("span", { class: "faint" });
    const node = el("li", {}, el("code", { text: plain(one.name), title: one.command ?? one.kind }), " ", state, " ", what);
    return { node, update: (now) => {
      mark(node, "data-tone", ATTACHED_TONES[now.state]);
      put(state, now.state);
      put(what, [
        now.kind, now.pid && `pid ${now.pid}`, now.since && `since ${clock(now.since)}`, now.next && `next ${until(now.next)}`,
        plural(now.starts, "start"), now.failures > 0 && plural(now.failures, "failure"),
        now.last_exit && `last exit: ${plain(now.last_exit.how)}, ${ago(now.last_exit.at)}`,
      ].filter(Boolean).join(" · "));
    } };
  });
}

const GOOD_EVENTS = ["up", "adopted", "awake"];
const BAD_EVENTS = ["failed", "died", "worker-died", "refused", "forced", "late", "halted"];

/** Events, newest first; with their vassal where it is not said by the place. */
function drawEvents(node, events, named) {
  const part = node.closest("section.panel");
  if (part) show(part, events.length > 0);
  list(node, events, (event) => event.id, (event) => {
    const tone = outcomeTone(event);
    const name = named && event.vassal && el("a", { href: `#/vassal/${encodeURIComponent(event.vassal)}`, text: event.vassal });
    const reason = event.reason && !event.message.includes(event.reason) ? ` (${event.reason})` : "";
    return {
      node: el(node.tagName === "OL" ? "li" : "div", { class: "event", "data-tone": tone }, el("time", { text: clock(event.at), title: event.at }),
        el("i", { class: "dot", "aria-hidden": "true" }), el("span", {}, name, name && " ", plain(event.message + reason))),
      update() {},
    };
  });
}

function outcomeTone({ kind, outcome }) {
  if (outcome) return OUTCOMES[outcome]?.tone;
  return BAD_EVENTS.includes(kind) ? "bad" : GOOD_EVENTS.includes(kind) ? "good" : "off";
}
