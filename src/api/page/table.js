// All vassals: filtered, sorted, and renewed in place.

const COLUMNS = [
  { name: "trouble", label: "State", order: (a, b) => rankOf(a.vassal) - rankOf(b.vassal) },
  { name: "name", label: "Vassal", order: () => 0 },
  { name: "rate", label: "Req / s", order: (a, b) => (b.rate ?? 0) - (a.rate ?? 0), number: true },
  { name: "time", label: "Latency", order: (a, b) => (b.times.average ?? -1) - (a.times.average ?? -1), number: true },
  { name: "busy", label: "Busy", order: (a, b) => b.vassal.totals.busy - a.vassal.totals.busy, number: true },
  { name: "memory", label: "Memory", order: (a, b) => b.vassal.totals.rss_bytes - a.vassal.totals.rss_bytes, number: true },
  { name: "reload", label: "Last reload", order: (a, b) => endOf(b.vassal) - endOf(a.vassal) },
  { name: "since", label: "Up", order: (a, b) => Date.parse(b.vassal.since ?? 0) - Date.parse(a.vassal.since ?? 0), number: true },
];

/** How long an order that depends on counters is left alone. */
const ORDER_MS = 3000;

const table = { sort: "trouble", back: false, only: null, filter: "", order: [], ordered: 0, key: "" };

const endOf = (vassal) => Date.parse(vassal.last_reload?.ended ?? 0);

function makeTable() {
  const row = $("vassals").tHead.rows[0];
  for (const column of COLUMNS) {
    const button = el("button", { type: "button", text: column.label, onclick: () => sortBy(column.name, table.sort === column.name && !table.back) });
    row.append(el("th", { scope: "col", class: `c-${column.name}${column.number ? " number" : ""}` }, button));
    $("sort").append(el("option", { value: column.name, text: column.label }));
  }
  row.append(el("th", { scope: "col", class: "c-act" }, el("span", { class: "unseen", text: "Actions" })));
  $("sort").addEventListener("change", () => sortBy($("sort").value, false));
  $("filter").addEventListener("input", () => { table.filter = $("filter").value; table.ordered = 0; draw(); });
  sortBy("trouble", false);
}

function sortBy(name, back) {
  Object.assign(table, { sort: name, back, ordered: 0 });
  $("sort").value = name;
  for (const [n, column] of COLUMNS.entries()) {
    const cell = $("vassals").tHead.rows[0].cells[n];
    mark(cell, "aria-sort", column.name === name ? (back ? "descending" : "ascending") : null);
  }
  draw();
}

function wanted(vassal) {
  if (table.only === "trouble" ? !isTrouble(vassal) : table.only && vassal.state !== table.only) return false;
  const text = `${vassal.name} ${stateOf(vassal).word} ${vassal.reason ?? ""} ${vassal.path}`.toLowerCase();
  return table.filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function showTable() {
  const { snapshot } = model;
  if (!snapshot) return;
  showChips(snapshot.vassals);
  const facts = new Map();
  for (const vassal of snapshot.vassals) {
    if (!wanted(vassal)) continue;
    const course = model.courses.get(vassal.name);
    facts.set(vassal.name, { vassal, rate: course.rate(), times: course.times() });
  }
  const names = ordered(facts);
  list($("vassals").tBodies[0], names.map((name) => facts.get(name)), (fact) => fact.vassal.name, makeRow);
  show($("vassals"), names.length > 0);
  showEmpty(snapshot, names.length);
}

/** The names in order. Rows that somebody points at do not run away. */
function ordered(facts) {
  const column = COLUMNS.find((one) => one.name === table.sort);
  const body = $("vassals").tBodies[0];
  const key = `${table.sort} ${table.back} ${table.only} ${table.filter}`;
  const held = body.matches(":hover") || body.contains(document.activeElement);
  const fresh = performance.now() - table.ordered < ORDER_MS;
  const same = table.key === key && table.order.length === facts.size && table.order.every((name) => facts.has(name));
  if (same && (held || fresh)) return table.order;
  const sign = table.back ? -1 : 1;
  const byName = new Intl.Collator("en", { numeric: true }).compare;
  const all = [...facts.keys()].sort((a, b) => sign * (column.order(facts.get(a), facts.get(b)) || byName(a, b)));
  Object.assign(table, { order: all, ordered: performance.now(), key });
  return all;
}

function makeRow({ vassal }) {
  const state = el("span", { class: "state" }, el("i", { class: "dot", "aria-hidden": "true" }), el("span"));
  const link = el("a", { class: "name", href: `#/vassal/${encodeURIComponent(vassal.name)}`, text: vassal.name });
  const root = el("span", { class: "tag warn", text: "root", title: "The application runs as root", hidden: true });
  const reason = el("span", { class: "reason" });
  const high = el("small");
  const average = el("span");
  const busyBar = meter("Busy workers");
  const busy = el("span");
  const outcome = el("span", { class: "outcome" });
  const when = el("small");
  const cells = Object.fromEntries(COLUMNS.map((column) => [column.name, el("td", { class: `c-${column.name}${column.number ? " number" : ""}`, "data-label": column.label })]));
  cells.trouble.append(state);
  cells.name.append(link, root, reason);
  cells.time.append(average, high);
  cells.busy.append(busy, busyBar.node);
  cells.reload.append(outcome, when);
  const button = el("button", { type: "button", class: "quiet again", text: "Reload", "aria-label": `Reload ${vassal.name}`, onclick: () => { const now = vassalNamed(vassal.name); if (now) reload(now); } });
  const node = el("tr", {}, ...Object.values(cells), el("td", { class: "c-act" }, button));
  const update = (fact) => {
    const { vassal: now, times } = fact;
    mark(node, "data-tone", toneOf(now));
    mark(node, "data-none", now.totals.workers || now.totals.requests ? null : "");
    mark(cells.reload, "data-none", now.last_reload ? null : "");
    put(state.lastElementChild, stateOf(now).word);
    show(root, now.root);
    mark(reason, "title", now.reason);
    put(reason, now.next_try ? `${now.reason ?? ""}; next try ${until(now.next_try)}` : now.reason ?? "");
    put(cells.rate, now.totals.workers || fact.rate ? rate(fact.rate) : NOTHING);
    put(average, millis(times.average));
    put(high, times.average == null ? "" : times.high === Infinity ? "> 10 s" : `≤ ${times.high >= 1e6 ? `${times.high / 1e6} s` : `${times.high / 1e3} ms`}`);
    mark(cells.time, "data-late", String(times.late));
    mark(cells.time, "title", times.average == null ? null : `On average; ${highTime(times.high)}${times.late ? ", over the last minute" : ", since the start"}`);
    put(busy, now.totals.workers ? `${now.totals.busy} / ${now.totals.workers}` : NOTHING);
    show(busyBar.node, now.totals.workers > 0);
    busyBar.draw(now.totals.busy / (now.totals.workers || 1), fullness(now.totals.busy / (now.totals.workers || 1)));
    put(cells.memory, bytes(now.totals.rss_bytes));
    put(outcome, now.last_reload ? outcomeOf(now.last_reload).word : NOTHING);
    mark(outcome, "data-tone", now.last_reload ? outcomeOf(now.last_reload).tone : null);
    put(when, now.last_reload ? ago(now.last_reload.ended) : "");
    mark(cells.reload, "title", now.last_reload ? `${now.last_reload.why}, ${clock(now.last_reload.ended)}` : null);
    put(cells.since, since(now.since));
    show(button, may("operate", now.name) && ACTIONS[0].when(now));
  };
  return { node, update };
}

/** How many there are in each state; a press shows only those. */
function showChips(vassals) {
  const troubled = vassals.filter(isTrouble).length;
  const byState = {};
  for (const { state } of vassals) byState[state] = (byState[state] ?? 0) + 1;
  const counts = Object.entries(byState).sort(([a], [b]) => (STATES[a]?.rank ?? 5) - (STATES[b]?.rank ?? 5) || a.localeCompare(b));
  const chips = [...(troubled ? [{ name: "trouble", word: "need a look", tone: "bad", n: troubled }] : []),
    ...counts.map(([state, n]) => ({ name: state, word: stateOf({ state }).word, tone: stateOf({ state }).tone, n }))];
  if (table.only && !chips.some((chip) => chip.name === table.only)) chips.unshift({ name: table.only, word: table.only, tone: "off", n: 0 });
  list($("chips"), chips, (chip) => chip.name, (chip) => {
    const number = el("b");
    const node = el("button", { type: "button", "data-tone": chip.tone, onclick: () => { table.only = table.only === chip.name ? null : chip.name; table.ordered = 0; draw(); } },
      el("i", { class: "dot", "aria-hidden": "true" }), number, ` ${chip.word}`);
    return { node, update: (now) => { put(number, String(now.n)); mark(node, "aria-pressed", String(table.only === now.name)); } };
  });
}

function showEmpty(snapshot, shown) {
  const none = snapshot.vassals.length === 0;
  show($("empty"), shown === 0);
  if (shown > 0) return;
  const directories = snapshot.emperor.directories.map((one) => one.path);
  const key = `${none} ${directories}`;
  if ($("empty").dataset.key === key) return;
  $("empty").dataset.key = key;
  $("empty").replaceChildren(...(none ? [
    el("h2", { text: "No vassals yet" }),
    el("p", {}, "Drop a file like this into ", ...directories.flatMap((path, n) => [n ? " or " : "", el("code", { text: path })]), ", and it is served:"),
    el("pre", { text: "[uwsgi]\nhttp-socket = 127.0.0.1:8000\nchdir = /srv/blog\nvirtualenv = /srv/blog/venv\nmodule = blog.wsgi:application\nprocesses = 2" }),
  ] : [
    el("h2", { text: "None of the vassals matches" }),
    el("button", { type: "button", text: "Show all", onclick: clearFilter }),
  ]));
}

function clearFilter() {
  Object.assign(table, { only: null, filter: "", ordered: 0 });
  $("filter").value = "";
  draw();
}

/** Goes so many rows on from the one that has the focus; `Infinity` and its negative to the ends. */
function step(by) {
  // What was typed a moment ago counts, also where the next frame has not come yet.
  showTable();
  const links = [...$("vassals").tBodies[0].querySelectorAll("a.name")];
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = at < 0 && Number.isFinite(by) ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next]?.focus();
}
