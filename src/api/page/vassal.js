// One vassal: how it stands, what its workers do, and what can be done.

const place = { name: null, stop: null, parts: null };

/** Opens the page of a vassal; `null` closes it. */
function openVassal(name) {
  if (place.name === name) return;
  place.stop?.abort();
  Object.assign(place, { name, stop: null, parts: null, facts: { workers: [], detail: null, boxes: [], companions: [], attached: [] } });
  $("vassal").replaceChildren();
  if (name === null) return;
  place.stop = new AbortController();
  place.parts = makeVassal(name);
  keepLooking(name, place.stop.signal);
  followEvents(name, place.stop.signal);
  drawVassal();
}

function makeVassal(name) {
  const state = el("span", { class: "state big" }, el("i", { class: "dot", "aria-hidden": "true" }), el("span"));
  const reason = el("p", { class: "reason" });
  const facts = el("p", { class: "facts faint" });
  const buttons = el("div", { class: "buttons", role: "group", "aria-label": "Actions" });
  const tiles = {
    rate: tile("Requests / s"), time: tile("Latency"), busy: tile("Busy workers"), memory: tile("Memory"), reload: tile("Last reload"), since: tile("Up"),
  };
  const spark = sparkline("Requests per second over the last minute");
  tiles.rate.node.append(spark.node);
  const busyMeter = meter("Busy workers");
  tiles.busy.node.append(busyMeter.node);
  const panels = {
    failures: el("div", { class: "failures" }),
    warnings: panel("Warnings"),
    requests: panel("Requests in flight"),
    workers: panel("Workers"),
    caches: panel("Caches"),
    log: makeLog(),
    events: panel("Events"),
    boxes: panel("Black boxes"),
    attached: panel("Daemons and timed commands"),
    sockets: panel("Sockets and processes"),
  };
  const gone = el("p", { class: "notice", "data-tone": "bad", hidden: true, text: "There is no vassal of this name (any more)." });
  $("vassal").append(
    el("header", { class: "head" },
      el("a", { href: "#/", class: "back", text: "← Vassals" }),
      el("h1", { tabindex: "-1", text: name }), state, buttons, reason, facts),
    gone, el("div", { class: "tiles" }, ...Object.values(tiles).map((one) => one.node)),
    ...Object.values(panels).map((one) => one.node ?? one));
  return { state, reason, facts, buttons, tiles, spark, busyMeter, panels, gone, events: [], logKey: null };
}

/** Asks for what the snapshot leaves out: workers and what caches count each second, the rest when something has happened. */
async function keepLooking(name, signal) {
  const link = `/v1/vassals/${encodeURIComponent(name)}`;
  let known = null;
  while (!signal.aborted) {
    await Promise.all([untilSeen(signal), untilKnown(signal)]);
    if (signal.aborted) return;
    const { facts } = place;
    try {
      const key = keyOf(vassalNamed(name));
      const all = key !== known || facts.stale;
      facts.stale = false;
      const [workers, detail, boxes, companions] = await Promise.all([
        read(`${link}/workers`, { signal }),
        (all || facts.detail?.caches.length > 0) && read(link, { signal }),
        all && read(`${link}/black-boxes`, { signal }),
        all && read(`${link}/companions`, { signal }),
      ]);
      if (signal.aborted) return;
      facts.workers = workers.workers;
      if (detail) facts.detail = detail;
      if (all) Object.assign(facts, { boxes: boxes.black_boxes, companions: companions.companions, attached: companions.attached });
      known = key;
      drawVassal();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) Object.assign(facts, { workers: [], detail: null });
    }
    await pause(1000, signal);
  }
}

/** Another one when there is more to be asked for. */
function keyOf(vassal) {
  if (!vassal) return "";
  const { totals, ...rest } = vassal;
  return JSON.stringify([rest, totals.workers, api.access?.role]);
}

function followEvents(name, signal) {
  const path = (after) => `/v1/events?limit=200&vassal=${encodeURIComponent(name)}${after ? `&after=${encodeURIComponent(after)}` : ""}`;
  const { parts } = place;
  keepFollowing(path, (item) => item.id, signal, (items) => {
    parts.events = [...items.filter((item) => item.id).reverse(), ...parts.events].slice(0, 200);
    place.facts.stale = true;
    drawEvents(parts.panels.events.body, parts.events, false);
  }, () => {});
}

function drawVassal() {
  const { name, parts } = place;
  const vassal = name && vassalNamed(name);
  if (!parts || !model.snapshot) return;
  show(parts.gone, !vassal);
  if (!vassal) return;
  const course = model.courses.get(name);
  mark($("vassal"), "data-tone", toneOf(vassal));
  put(parts.state.lastElementChild, stateOf(vassal).word);
  mark(parts.state, "data-tone", toneOf(vassal));
  put(parts.reason, vassal.next_try ? `${vassal.reason ?? ""}; next try ${until(vassal.next_try)}` : vassal.reason ?? "");
  const { detail } = place.facts;
  put(parts.facts, [
    vassal.path, vassal.pid && `master ${vassal.pid}`, vassal.generation && `generation ${vassal.generation}`, plural(vassal.reloads, "reload"),
    plural(vassal.restarts, "restart"), detail?.version && `liege ${detail.version}`, vassal.root && "runs as root",
    detail?.last_exit && `last exit: ${detail.last_exit.how}, ${ago(detail.last_exit.at)}`,
  ].filter(Boolean).join(" · "));
  drawButtons(parts.buttons, vassal);
  drawTiles(parts, vassal, course);
  drawFailures(parts.panels.failures, vassal, detail);
  drawWarnings(parts.panels.warnings, detail?.warnings ?? []);
  drawRequests(parts.panels.requests, vassal, place.facts.workers);
  drawWorkers(parts.panels.workers, vassal, place.facts.workers);
  drawCaches(parts.panels.caches, detail?.caches ?? []);
  drawBoxes(parts.panels.boxes, place.facts.boxes);
  drawAttached(parts.panels.attached, place.facts.attached);
  drawSockets(parts.panels.sockets, vassal, place.facts.companions);
  // Logs are for those who may operate the vassal; whoever becomes one sees them.
  const told = may("operate", name);
  const key = `${name} ${told}`;
  if (api.access && parts.logKey !== key) {
    parts.logKey = key;
    parts.panels.log.open(vassal, told, place.stop.signal);
  }
}

function drawButtons(node, vassal) {
  const possible = ACTIONS.filter((action) => may("operate", vassal.name) && action.when(vassal));
  const first = possible.find((action) => action.main);
  list(node, possible, (action) => action.name, (action) => {
    const button = el("button", {
      type: "button", text: action.label, "data-action": action.name,
      onclick: () => { const now = vassalNamed(vassal.name); if (now) onVassal(action, now); },
    });
    return { node: button, update: (now) => mark(button, "class", now === first ? "main" : now.tone) };
  });
}

function drawTiles({ tiles, spark, busyMeter }, vassal, course) {
  const { totals, last_reload: last } = vassal;
  const times = course.times();
  put(tiles.rate.value, rate(course.rate()));
  put(tiles.rate.note, `${plural(totals.requests, "request")}, ${plural(totals.exceptions, "exception")}`);
  spark.draw(course.course());
  put(tiles.time.value, millis(times.average));
  put(tiles.time.note, times.average == null ? "no request yet" : highTime(times.high) + (times.late ? "" : ", since the start"));
  put(tiles.busy.value, `${totals.busy} / ${totals.workers}`);
  put(tiles.busy.note, totals.requests ? `waited for a thread: ${millis(totals.queued_us / totals.requests)} on average` : "");
  busyMeter.draw(totals.busy / (totals.workers || 1), fullness(totals.busy / (totals.workers || 1)));
  put(tiles.memory.value, bytes(totals.rss_bytes));
  put(tiles.memory.note, totals.workers ? `${bytes(totals.rss_bytes / totals.workers)} each; shared parts count in each` : "");
  put(tiles.reload.value, last ? outcomeOf(last).word : NOTHING);
  mark(tiles.reload.node, "data-tone", last ? outcomeOf(last).tone : null);
  put(tiles.reload.note, last ? `${ago(last.ended)}, ${last.why}` : "none yet");
  put(tiles.since.value, since(vassal.since));
  put(tiles.since.note, vassal.since ? `since ${clock(vassal.since)}` : "");
}
