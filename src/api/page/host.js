// The host at a glance: the bar at the top, the figures, and what is wrong with it as a whole.

const host = { tiles: null };

function tile(label) {
  const value = el("b", { text: NOTHING });
  const note = el("small");
  const node = el("div", { class: "tile" }, el("span", { class: "label", text: label }), value, note);
  return { node, value, note };
}

function makeTiles() {
  const tiles = { serving: tile("Serving"), rate: tile("Requests / s"), time: tile("Latency"), busy: tile("Busy workers"), memory: tile("Memory"), load: tile("Load") };
  tiles.spark = sparkline("Requests per second over the last minute");
  tiles.rate.node.append(tiles.spark.node);
  for (const name of ["busy", "memory", "load"]) {
    tiles[`${name}Meter`] = meter(tiles[name].node.firstChild.textContent);
    tiles[name].node.append(tiles[`${name}Meter`].node);
  }
  $("tiles").append(...["serving", "rate", "time", "busy", "memory", "load"].map((name) => tiles[name].node));
  return tiles;
}

function showHost() {
  const { snapshot, whole } = model;
  if (!snapshot) return;
  const { totals, vassals } = snapshot;
  put($("host-name"), snapshot.host.name || "liege");
  put($("version"), `liege ${snapshot.emperor.version}${snapshot.emperor.phase === "running" ? "" : `, ${snapshot.emperor.phase}`}`);
  const troubled = vassals.filter(isTrouble).length;
  const title = `${troubled ? `(${troubled}) ` : ""}${snapshot.host.name} · liege`;
  if (document.title !== title) document.title = title;
  showIcon(model.lost ? "#8a919c" : troubled ? "#d6453d" : "#3d63dd");
  const tiles = (host.tiles ??= makeTiles());
  const serving = vassals.filter((vassal) => vassal.serving && vassal.state !== "no-app").length;
  put(tiles.serving.value, `${serving} of ${vassals.length}`);
  put(tiles.serving.note, troubled ? `${troubled} need${troubled === 1 ? "s" : ""} a look` : vassals.length ? "all is well" : "no vassals");
  mark(tiles.serving.node, "data-tone", troubled ? "bad" : null);
  put(tiles.rate.value, rate(whole.rate()));
  put(tiles.rate.note, `${compact(totals.requests)} in all`);
  tiles.spark.draw(whole.course());
  const times = whole.times();
  put(tiles.time.value, millis(times.average));
  put(tiles.time.note, times.average == null ? "" : highTime(times.high) + (times.late ? "" : ", since the start"));
  put(tiles.busy.value, `${totals.busy} / ${totals.workers}`);
  put(tiles.busy.note, totals.workers ? `${Math.round((totals.busy / totals.workers) * 100)} %` : "");
  tiles.busyMeter.draw(totals.workers ? totals.busy / totals.workers : 0, fullness(totals.busy / totals.workers));
  const { memory_bytes: all, memory_available_bytes: free, load, cpus, uptime_s: uptime } = snapshot.host;
  put(tiles.memory.value, bytes(totals.rss_bytes));
  put(tiles.memory.note, all ? `host: ${bytes(all - free)} of ${bytes(all)} in use` : "");
  tiles.memoryMeter.draw(all ? (all - free) / all : 0, fullness((all - free) / all));
  put(tiles.load.value, load[0].toFixed(2));
  put(tiles.load.note, `${plural(cpus, "CPU")}, up ${span(uptime * 1000)}`);
  tiles.loadMeter.draw(load[0] / cpus, fullness(load[0] / cpus));
  showNotices(snapshot);
}

function fullness(part) {
  return part > 0.9 ? "bad" : part > 0.7 ? "warn" : "good";
}

/** What is wrong, or going on, beyond single vassals. */
function showNotices({ emperor, operations, not_started: others }) {
  const notices = [
    ...emperor.directories.flatMap((one) => [
      one.problem && { tone: "bad", text: `${one.path}: ${one.problem}` },
      one.warning && { tone: "warn", text: one.warning },
    ]),
    ...operations.filter((one) => one.parent == null).map((one) => ({
      tone: "busy",
      text: `${one.kind} of ${one.vassal ?? "all"} runs since ${span(hostNow() - Date.parse(one.asked))} (${one.why})`,
      name: `operation ${one.link}`,
    })),
  ].filter(Boolean);
  list($("notices"), notices, (one) => one.name ?? one.text, ({ tone }) => {
    const text = el("span");
    const node = el("p", { class: "notice", "data-tone": tone }, el("i", { class: "dot", "aria-hidden": "true" }), text);
    return { node, update: (one) => put(text, one.text) };
  });
  show($("not-started"), others.length > 0);
  put($("not-started").firstElementChild, `${plural(others.length, "file")} not started`);
  list($("not-started").lastElementChild, others, (one) => one.path, (one) => {
    const reason = el("span");
    return { node: el("li", {}, el("code", { text: one.path }), " ", reason), update: (now) => put(reason, now.reason) };
  });
}

function showIcon(colour) {
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M3 6l4.5 4L12 3l4.5 7L21 6l-1.8 13H4.8z" fill="${colour}"/></svg>`;
  mark($("icon"), "href", `data:image/svg+xml,${encodeURIComponent(picture)}`);
}

/** How fresh what is shown is. */
function showLink() {
  const { lost } = model;
  const tone = lost ? "bad" : model.snapshot ? "good" : "busy";
  mark($("link"), "data-tone", tone);
  put($("link").lastElementChild, lost ? "lost" : model.snapshot ? "live" : "connecting");
  show($("banner"), lost != null && lost.shown);
  document.body.classList.toggle("stale", lost != null && lost.shown);
  if (lost) {
    const left = Math.max(Math.ceil((lost.next - Date.now()) / 1000), 0);
    const then = model.snapshot ? ` What is shown is from ${clock(lost.since)}.` : "";
    put($("banner").firstElementChild, `${lost.reason}.${then} ${left ? `Next try in ${left} s.` : "Trying…"}`);
  }
}

/** What this one may do to the host. */
function showAccess() {
  const { access } = api;
  show($("role"), access != null);
  if (!access) return;
  put($("role"), access.role + (access.vassals.length ? ` ${access.vassals.join(" ")}` : ""));
  mark($("role"), "title", access.vassals.length ? `You may ${access.role} these vassals` : `Your role: ${access.role}`);
  show($("token"), access.tokens);
  const allowed = HOST_ACTIONS.filter((action) => may(action.role, null));
  show($("host-menu"), allowed.length > 0);
  list($("host-menu").lastElementChild, allowed, (action) => action.name, (action) => ({
    node: el("button", { type: "button", text: action.label, onclick: () => { $("host-menu").open = false; onHost(action); } }),
    update() {},
  }));
}
