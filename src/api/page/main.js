// The course of it: asking, drawing, and going from place to place.

/** Snapshots of many vassals are large: they come less often. */
const CALM = { few: 1000, many: 2000, limit: 200 };
const WAIT_S = 25;

let drawing = false;

/** Draws what is to be seen, once for all that changes until the next frame. */
function draw() {
  if (drawing) return;
  drawing = true;
  const now = () => {
    drawing = false;
    showHost();
    showLink();
    if (!$("host").hidden) showTable();
    if (!$("vassal").hidden) drawVassal();
  };
  if (document.hidden) setTimeout(now, 0);
  else requestAnimationFrame(now);
}

async function keepAsking() {
  let failures = 0;
  for (;;) {
    await untilSeen();
    const hidden = hiding.signal;
    try {
      if (!api.access) await askAccess();
      const more = model.tag ? { "if-none-match": model.tag } : {};
      const wait = model.tag && !model.lost ? `?wait=${WAIT_S}` : "";
      model.asking = wait ? performance.now() : null;
      const answer = await ask(`/v1/snapshot${wait}`, { more, signal: hidden, patience: (WAIT_S + 15) * 1000 });
      failures = 0;
      Object.assign(model, { lost: null, asking: null });
      if (answer.status === 200) {
        const snapshot = await answer.value.json();
        model.tag = answer.tag;
        takeSnapshot(snapshot);
      }
      draw();
      await pause(model.snapshot?.vassals.length > CALM.limit ? CALM.many : CALM.few);
    } catch (error) {
      model.asking = null;
      if (hidden.aborted) continue;
      failures += 1;
      await lose(error, failures);
    }
  }
}

async function askAccess() {
  const { access } = await read("/v1");
  api.access = access;
  showAccess();
  draw();
}

/** Nobody answers, or not us: says so, and waits before the next try. */
async function lose(error, failures) {
  const known = error instanceof Refused;
  if (error.status === 401) {
    show($("token"), true);
    // Who has said no is not asked again.
    if (!declined) await signIn(hasToken() ? error.message : null);
  }
  // One failure alone: the emperor may be executing itself anew.
  const wait = failures === 1 && !known ? 300 : Math.min(1000 * 2 ** Math.min(failures, 4), 15_000);
  const reason = known ? `The emperor refuses: ${error.message}` : "The connection to the emperor is lost";
  const stop = new AbortController();
  model.lost = { since: model.lost?.since ?? Date.now(), next: Date.now() + wait, reason, shown: failures > 1 || known, stop };
  draw();
  await pause(wait, stop.signal);
  // Whoever answers next may allow something else.
  if (failures > 1) api.access = null;
}

let signingIn = false;
let declined = false;

async function signIn(said) {
  if (signingIn) return;
  signingIn = true;
  try {
    declined = !(await enterToken(said));
    if (!declined) {
      api.access = null;
      model.tag = null;
      await askAccess().catch((error) => { if (error.status === 401) setTimeout(() => signIn(error.message), 0); });
    }
  } finally {
    signingIn = false;
  }
}

// Places.

const eventsPage = { stop: null, all: [] };

function route() {
  const hash = location.hash;
  let name = null;
  if (hash.startsWith("#/vassal/")) try { name = decodeURIComponent(hash.slice(9)); } catch { name = hash.slice(9); }
  const view = name !== null ? "vassal" : hash === "#/events" ? "events" : "host";
  for (const one of ["host", "vassal", "events"]) show($(one), one === view);
  for (const link of document.querySelectorAll("nav a")) mark(link, "aria-current", link.dataset.view === view ? "page" : null);
  $("host-menu").open = false;
  openVassal(name);
  openEvents(view === "events");
  draw();
  scrollTo(0, 0);
  if (view === "vassal") $("vassal").querySelector("h1").focus({ preventScroll: true });
}

function openEvents(open) {
  if (!open) { eventsPage.stop?.abort(); eventsPage.stop = null; return; }
  if (eventsPage.stop) return;
  eventsPage.stop = new AbortController();
  eventsPage.all = [];
  const path = (after) => `/v1/events?limit=500${after ? `&after=${encodeURIComponent(after)}` : ""}`;
  keepFollowing(path, (item) => item.id, eventsPage.stop.signal, (items) => {
    eventsPage.all = [...items.filter((item) => item.id).reverse(), ...eventsPage.all].slice(0, 500);
    showEvents();
  }, (error) => toast(error.message).end("bad", error.message));
}

function showEvents() {
  const word = $("event-filter").value.toLowerCase();
  const wanted = eventsPage.all.filter((event) => `${event.vassal ?? ""} ${event.message} ${event.reason ?? ""}`.toLowerCase().includes(word));
  drawEvents($("events").querySelector("ol"), wanted, true);
}

// Keys.

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const types = target.matches("input, select, textarea");
  const filter = !$("host").hidden ? $("filter") : !$("events").hidden ? $("event-filter") : $("vassal").querySelector("input[type=search]");
  if (key === "Escape") return leave(target, types, event);
  if (types) {
    if (target === $("filter") && (key === "ArrowDown" || key === "Enter")) { step(1); event.preventDefault(); }
    return;
  }
  const scrolls = target.matches(".lines, pre");
  const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: -Infinity, End: Infinity };
  if (key in moves && !$("host").hidden && !scrolls) step(moves[key]);
  else if (key === "/") { filter?.focus(); filter?.select(); }
  else if (key === "?") showKeys();
  else if (key === "e") location.hash = "#/events";
  else if (key === "f" && place.parts) place.parts.panels.log.toggle();
  else if (key === "r") reloadHere(target);
  else return;
  event.preventDefault();
}

function reloadHere(target) {
  const name = place.name ?? target.closest("tr")?.querySelector("a.name")?.textContent;
  const vassal = name && vassalNamed(name);
  if (vassal && may("operate", name) && ACTIONS[0].when(vassal)) reload(vassal);
}

function leave(target, types, event) {
  if ($("host-menu").open) $("host-menu").open = false;
  else if (types && target.value) { target.value = ""; target.dispatchEvent(new Event("input", { bubbles: true })); event.preventDefault(); }
  else if (types) target.blur();
  else if (!$("host").hidden && (table.filter || table.only)) clearFilter();
  else if ($("host").hidden) location.hash = "#/";
  else document.activeElement?.blur();
}

/** The address that `liege page` prints carries a token in the part that no server gets. */
function takeToken() {
  if (!location.hash.startsWith("#token=")) return;
  keepToken(location.hash.slice(7));
  history.replaceState(null, "", "#/");
}

takeToken();
makeTable();
$("token").addEventListener("click", () => signIn(null));
$("help").addEventListener("click", showKeys);
$("banner").lastElementChild.addEventListener("click", () => model.lost?.stop.abort());
$("event-filter").addEventListener("input", showEvents);
document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => { if (!$("host-menu").contains(event.target)) $("host-menu").open = false; });
addEventListener("hashchange", route);
setInterval(() => { stay(); draw(); }, 1000);
route();
keepAsking();
