// Asking the API. A token is kept for this tab only, and sent to where this page came from and nowhere else.

const TOKEN = "liege-token";
const api = { skew: 0, access: null };

/** An answer that is no success: the problem document, or what went wrong on the way. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

function keepToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

async function ask(path, { method = "GET", body, more, signal, patience = 20_000 } = {}) {
  const limit = AbortSignal.timeout(patience);
  const posted = method === "GET" ? {} : { "content-type": "application/json" };
  const response = await fetch(path, {
    method,
    headers: headers({ ...posted, ...more }),
    body: method === "GET" ? undefined : JSON.stringify(body ?? {}),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  });
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds: less than two are no difference.
  const skew = date - Date.now();
  if (Number.isFinite(skew)) api.skew = Math.abs(skew) < 2000 ? 0 : skew;
  if (response.status === 304) return { status: 304 };
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return { status: response.status, tag: response.headers.get("etag"), value: response };
}

async function read(path, options) {
  return (await ask(path, options)).value.json();
}

/** Reads a stream of JSON lines until it is aborted or ends. */
async function follow(path, signal, take) {
  const response = await fetch(path, { headers: headers({ accept: "application/x-ndjson" }), cache: "no-store", credentials: "omit", redirect: "error", signal });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    take(lines.filter((line) => line !== "").map((line) => JSON.parse(line)));
  }
}

/**
 * Follows a stream for as long as `signal` and the page last, and goes on where it was. `place(item)` tells the id that
 * `?after=` takes. Hidden pages rest: a browser has few connections to a host.
 */
async function keepFollowing(pathAfter, place, signal, take, lost) {
  let after = null;
  let wait = 500;
  while (!signal.aborted) {
    await Promise.all([untilSeen(signal), untilKnown(signal)]);
    if (signal.aborted) return;
    const hidden = hiding.signal;
    try {
      await follow(pathAfter(after), AbortSignal.any([signal, hidden]), (items) => {
        wait = 500;
        after = items.reduce((last, item) => place(item) ?? last, after);
        take(items);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) { lost(error); if (error.status < 500) return; }
    }
    if (!hidden.aborted) await pause(wait, signal);
    wait = Math.min(wait * 2, 15_000);
  }
}

function pause(ms, signal) {
  return new Promise((done) => {
    const end = () => { clearTimeout(timer); signal?.removeEventListener("abort", end); done(); };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}

function untilSeen(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("visibilitychange", () => done(), { once: true });
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Until it is known what this one may do: before, every question could be refused. */
async function untilKnown(signal) {
  while (!api.access && !signal.aborted) await pause(200, signal);
}

let hiding = new AbortController();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiding.abort();
  else hiding = new AbortController();
});

// What this one may do.

const RANK = { read: 0, operate: 1, admin: 2 };

/** Whether the API will allow something: on a vassal, or without one on the host. It decides in any case. */
function may(role, vassal) {
  const { access } = api;
  if (!access || RANK[access.role] < RANK[role]) return false;
  if (access.vassals.length === 0) return true;
  return vassal != null && access.vassals.some((pattern) => matches(pattern, vassal));
}

/** A pattern of a shell: `*`, `?`, `[a-z]`, `[!a-z]`. */
function matches(pattern, name) {
  const parts = pattern.match(/\[!?\]?[^\]]*\]|[^]/gu) ?? [];
  const source = parts.map((part) => {
    if (part === "*") return "[^]*";
    if (part === "?") return "[^]";
    if (part.length > 1 && part.startsWith("[")) {
      const inner = part.slice(1, -1).replace(/^!/, "^").replace(/[\\\]]/g, "\\$&");
      return `[${inner}]`;
    }
    return part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  return new RegExp(`^${source.join("")}$`, "u").test(name);
}
