// What the host is doing: the last snapshot, and what the ones before it add: rates, times, and their course.

/** Over how long rates are counted, and times of requests. */
const RATE_MS = 10_000;
const COURSE_MS = 60_000;
/** The upper ends of the classes in `durations`, in microseconds. */
const CLASSES_US = [1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6, 2.5e6, 1e7];

/** How a state looks (`tone`), what it is called, and how much it wants to be seen. */
const STATES = {
  broken: { word: "broken", tone: "bad", rank: 0 },
  "no-app": { word: "no app", tone: "bad", rank: 1 },
  resting: { word: "resting", tone: "warn", rank: 2 },
  stopping: { word: "stopping", tone: "busy", rank: 4 },
  starting: { word: "starting", tone: "busy", rank: 4 },
  waiting: { word: "waiting", tone: "busy", rank: 4 },
  adopting: { word: "adopting", tone: "busy", rank: 4 },
  reloading: { word: "reloading", tone: "busy", rank: 4 },
  up: { word: "up", tone: "good", rank: 6 },
  asleep: { word: "asleep", tone: "rest", rank: 7 },
  stopped: { word: "stopped", tone: "off", rank: 8 },
};

const OUTCOMES = {
  running: { word: "running", tone: "busy" },
  done: { word: "done", tone: "good" },
  swapped: { word: "done", tone: "good" },
  "rolled-back": { word: "rolled back", tone: "bad" },
  "timed-out": { word: "timed out", tone: "bad" },
  superseded: { word: "superseded", tone: "off" },
  failed: { word: "failed", tone: "bad" },
};

const stateOf = (vassal) => STATES[vassal.state] ?? { word: vassal.state, tone: "off", rank: 5 };
const outcomeOf = (operation) => OUTCOMES[operation.outcome] ?? { word: operation.outcome, tone: "off" };

/** Counters over time. */
class Course {
  samples = [];

  /** Takes the counters of now. */
  take(totals, at) {
    const last = this.samples.at(-1);
    // A new master counts anew.
    if (last && totals.requests < last.totals.requests) this.samples = [];
    this.samples.push({ totals, at });
    while (this.samples.length > 2 && at - this.samples[1].at > COURSE_MS) this.samples.shift();
  }

  /** The counters are still those. */
  stay(at) {
    const last = this.samples.at(-1);
    if (last && at - last.at >= 900) this.take(last.totals, at);
  }

  /** Requests in a second; `null`: it has not been looked at for long enough. */
  rate() {
    const last = this.samples.at(-1);
    const first = this.samples.find((sample) => last.at - sample.at <= RATE_MS);
    if (!last || last.at - first.at < 800) return null;
    return ((last.totals.requests - first.totals.requests) * 1000) / (last.at - first.at);
  }

  /** How long requests took of late; where there were none, since the start. */
  times() {
    const last = this.samples.at(-1)?.totals;
    const first = this.samples[0]?.totals;
    if (!last || last.requests === 0) return { average: null, high: null, late: false };
    const late = last.requests > first.requests;
    const less = (key) => (late ? last[key] - first[key] : last[key]);
    const classes = last.durations.map((n, at) => (late ? n - first.durations[at] : n));
    return { average: less("running_us") / less("requests"), high: bound(classes, less("requests"), 0.95), late };
  }

  /** Requests in a second, over the last minute. */
  course() {
    const rates = [];
    for (let n = 1; n < this.samples.length; n += 1) {
      const [a, b] = [this.samples[n - 1], this.samples[n]];
      if (b.at - a.at > 200) rates.push(((b.totals.requests - a.totals.requests) * 1000) / (b.at - a.at));
    }
    return rates;
  }
}

/** The end of the class that so many of the requests do not go beyond; `Infinity`: of none. */
function bound(classes, requests, part) {
  let seen = 0;
  for (const [n, some] of classes.entries()) {
    seen += some;
    if (seen >= requests * part) return CLASSES_US[n];
  }
  return Infinity;
}

function highTime(high) {
  if (high == null) return "";
  return high === Infinity ? "95 % in > 10 s" : `95 % in ≤ ${high / 1000 >= 1000 ? `${high / 1e6} s` : `${high / 1000} ms`}`;
}

/** `asking`: since when the emperor has been asked for what is new, and has not answered. */
const model = { snapshot: null, tag: null, whole: new Course(), courses: new Map(), lost: null, asking: null };

function takeSnapshot(snapshot) {
  const at = performance.now();
  const old = model.courses;
  model.snapshot = snapshot;
  model.courses = new Map(snapshot.vassals.map((vassal) => [vassal.name, old.get(vassal.name) ?? new Course()]));
  for (const vassal of snapshot.vassals) model.courses.get(vassal.name).take(vassal.totals, at);
  model.whole.take(snapshot.totals, at);
}

/** No answer to that for a second: nothing has changed. */
function stay() {
  const at = performance.now();
  if (!model.snapshot || model.lost || model.asking === null || at - model.asking < 1200) return;
  model.whole.stay(at);
  for (const course of model.courses.values()) course.stay(at);
}

const vassalNamed = (name) => model.snapshot?.vassals.find((vassal) => vassal.name === name);

/** Whether somebody should look at it. */
function isTrouble(vassal) {
  const { tone } = stateOf(vassal);
  const failed = ["rolled-back", "timed-out", "failed"].includes(vassal.last_reload?.outcome);
  return tone === "bad" || tone === "warn" || vassal.config_error != null || failed;
}

/** Its tone: that of the state, unless it serves in spite of something. */
function toneOf(vassal) {
  const { tone } = stateOf(vassal);
  return tone === "good" && isTrouble(vassal) ? "warn" : tone;
}

function rankOf(vassal) {
  return toneOf(vassal) === "warn" ? Math.min(stateOf(vassal).rank, 3) : stateOf(vassal).rank;
}
