// Numbers and times for people.

const NOTHING = "–";

function count(value) {
  return value < 1e6 ? Math.round(value).toLocaleString("en") : compact(value);
}

function compact(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)} ${letter}`;
  }
  return String(Math.round(value));
}

function rate(value) {
  if (value == null) return NOTHING;
  if (value === 0) return "0";
  if (value < 0.1) return "< 0.1";
  return value < 10 ? value.toFixed(1) : value < 10_000 ? String(Math.round(value)) : compact(value);
}

function bytes(value) {
  if (!value) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = 0;
  while (value >= 1023.5 && n < 4) { value /= 1024; n += 1; }
  return `${value < 10 && n > 1 ? value.toFixed(1) : Math.round(value)} ${units[n]}`;
}

function millis(us) {
  if (us == null) return NOTHING;
  const ms = us / 1000;
  if (ms >= 10_000) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 10) return `${Math.round(ms)} ms`;
  return `${ms >= 1 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/** A span of time in its largest unit. */
function span(ms) {
  const s = Math.max(Math.round(ms / 1000), 0);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** The host's clock, as far as answers tell it: this one may be wrong. */
function hostNow() {
  return Date.now() + api.skew;
}

function ago(time) {
  return time == null ? NOTHING : `${span(hostNow() - Date.parse(time))} ago`;
}

function since(time) {
  return time == null ? NOTHING : span(hostNow() - Date.parse(time));
}

function until(time) {
  const left = Date.parse(time) - hostNow();
  return left <= 500 ? "now" : `in ${span(left)}`;
}

const two = (n) => String(n).padStart(2, "0");

/** The time of day here; with the date, where it is not today. */
function clock(time, fine = false) {
  const at = new Date(time);
  const text = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
  return day + text + (fine ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "");
}

/** Log lines hold control characters as `\x1b`; what a terminal would take as a colour is left out. */
function plain(text) {
  return text.replace(/\\x1b\[[0-9;]*m/g, "");
}

function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
