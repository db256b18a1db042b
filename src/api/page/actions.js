// What can be done, to whom, and what became of it.

const SERVING = ["up", "no-app", "reloading"];
const LEVELS = ["error", "warn", "info", "debug", "trace"];

/** Actions on a vassal: `when` says in which states there is something to do. */
const ACTIONS = [
  { name: "reload", label: "Reload", when: (v) => !["stopped", "stopping", "asleep"].includes(v.state), main: true },
  { name: "start", label: "Start", when: (v) => ["stopped", "resting", "broken"].includes(v.state), main: true },
  { name: "wake", label: "Wake", when: (v) => v.state === "asleep", main: true },
  { name: "clear-back-off", label: "Try now", when: (v) => v.state === "resting" },
  { name: "restart", label: "Restart", when: (v) => SERVING.includes(v.state) },
  { name: "scale", label: "Scale…", when: (v) => v.state === "up", ask: askScale },
  { name: "log-level", label: "Log level…", when: (v) => SERVING.includes(v.state), ask: askLevel },
  { name: "sleep", label: "Sleep", when: (v) => ["up", "no-app"].includes(v.state) && v.sockets.length > 0 },
  { name: "stop", label: "Stop…", when: (v) => !["stopped", "stopping"].includes(v.state), ask: askStop, tone: "danger" },
];

/** Actions on the host. */
const HOST_ACTIONS = [
  { name: "rescan", label: "Look at the directories now", role: "operate" },
  { name: "clear-back-off", label: "Try all that rest now", role: "operate" },
  { name: "reload", label: "Reload all vassals…", role: "operate", ask: () => surely("Reload all vassals?", "Each brings up a new generation, a few at a time; what does not load is rolled back.", "Reload all") },
  { name: "log-level", label: "Log level of the emperor…", role: "admin", ask: () => askLevel({ name: "the emperor" }) },
  { name: "upgrade", label: "Run the new binary…", role: "admin", ask: () => surely("Upgrade?", "The emperor and the masters execute the binary that is installed now. No app is reloaded.", "Upgrade") },
];

async function surely(...question) {
  return (await confirmed(...question)) ? {} : null;
}

function askStop(vassal) {
  return surely(`Stop ${vassal.name}?`, "Running requests are finished. It stays stopped until it is started, or until its file is made anew.", "Stop");
}

async function askScale(vassal) {
  const field = el("input", { type: "number", min: "1", max: "1000", value: String(vassal.totals.workers || 1), required: true });
  const value = await asked(`Scale ${vassal.name}`, "Workers, until the next reload", field, "Scale");
  return value === null ? null : { workers: Number(value) };
}

async function askLevel(vassal) {
  const field = el("select", {}, ...LEVELS.map((level) => el("option", { value: level, text: level, selected: level === "info" })));
  const value = await asked(`Log level of ${vassal.name}`, "How much is logged, until the next start", field, "Set");
  return value === null ? null : { level: value };
}

async function onVassal(action, vassal) {
  const body = action.ask ? await action.ask(vassal) : {};
  if (body === null) return;
  await perform(`${vassal.link}/${action.name}`, body, `${action.label.replace("…", "")} ${vassal.name}`);
}

async function onHost(action) {
  const body = action.ask ? await action.ask() : {};
  if (body === null) return;
  await perform(`/v1/${action.name}`, body, action.label.replace("…", ""));
}

function reload(vassal) {
  return onVassal(ACTIONS[0], vassal);
}

async function killRequest(vassal, request) {
  const what = request.request ?? `request ${request.id}`;
  const detail = `${what}: its worker is killed and replaced; what else runs in its threads ends with it.`;
  if (!(await confirmed("Kill this request?", detail, "Kill"))) return;
  await perform(`${vassal.link}/requests/${encodeURIComponent(request.id)}/kill`, {}, `Kill ${what}`);
}

async function showStacks(vassal, worker) {
  const done = await perform(`${vassal.link}/workers/${worker.pid}/stacks`, {}, `Stacks of worker ${worker.id} of ${vassal.name}`);
  if (!done?.log) return;
  const lines = await said(done.log);
  const text = lines.map((line) => plain(line.text)).join("\n") || "The worker has said nothing yet: its log tells.";
  dialog(`Worker ${worker.id} (pid ${worker.pid})`, [el("pre", { class: "traceback", tabindex: "0", text })], [{ label: "Close", value: "" }], true);
}

/** What was logged from there on, once there is something and it becomes no more. */
async function said(link) {
  let lines = [];
  for (let tries = 0; tries < 30; tries += 1) {
    const before = lines.length;
    ({ lines } = await read(link));
    if (lines.length > 0 && lines.length === before) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return lines;
}

/** Asks for it, waits for its end, and tells; gives the operation, if it was done. */
async function perform(path, body, label) {
  const note = toast(`${label}…`);
  try {
    let operation = await read(path, { method: "POST", body });
    while (operation.outcome === "running") {
      try {
        operation = await read(`${operation.link}?wait=20`, { patience: 40_000 });
      } catch (error) {
        // The emperor may be executing itself anew: the operation is carried over.
        if (error instanceof Refused) throw error;
        await pause(500);
      }
    }
    const { word, tone } = outcomeOf(operation);
    const why = operation.failure && (() => showFailure(`${label}: ${word}`, operation.failure));
    note.end(tone, `${label}: ${word}`, why);
    return tone === "good" ? operation : null;
  } catch (error) {
    const problem = error.problem ?? {};
    note.end("bad", `${label}: ${error.message}`, problem.suggestion && (() => showFailure(label, asFailure(problem, error))));
    if (error.status === 401) signIn(error.message);
    return null;
  }
}
