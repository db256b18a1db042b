// The log tail: what a vassal says, as it says it.

const LINES = 1000;

function makeLog() {
  const lines = el("div", { class: "lines", role: "log", "aria-label": "Log", "aria-live": "off", tabindex: "0" });
  const filter = el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the log", autocomplete: "off", spellcheck: "false" });
  const followed = el("button", { type: "button", text: "Follow", "aria-pressed": "true", title: "Stay at the end (f)" });
  const wrapped = el("button", { type: "button", text: "Wrap", "aria-pressed": "false" });
  const note = el("p", { class: "faint", hidden: true });
  const tools = [filter, wrapped, followed];
  const node = el("section", { class: "panel log", "aria-label": "Log" },
    el("div", { class: "tools" }, el("h2", { text: "Log" }), el("span", { class: "space" }), ...tools), note, lines);
  const state = { follows: true, at: 0 };
  const toEnd = () => { lines.scrollTop = lines.scrollHeight; };
  const setFollow = (follows) => {
    state.follows = follows;
    mark(followed, "aria-pressed", String(follows));
    if (follows) toEnd();
  };
  followed.addEventListener("click", () => setFollow(!state.follows));
  wrapped.addEventListener("click", () => {
    const wraps = lines.classList.toggle("wrap");
    mark(wrapped, "aria-pressed", String(wraps));
    if (state.follows) toEnd();
  });
  filter.addEventListener("input", () => {
    for (const line of lines.children) sift(line);
    if (state.follows) toEnd();
  });
  // Who scrolls up wants to read; who comes back to the end wants to follow.
  lines.addEventListener("scroll", () => {
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 8;
    if (lines.scrollTop < state.at && !atEnd && state.follows) setFollow(false);
    else if (atEnd && !state.follows) setFollow(true);
    state.at = lines.scrollTop;
  });
  const sift = (line) => { line.hidden = filter.value !== "" && !line.textContent.toLowerCase().includes(filter.value.toLowerCase()); };

  function take(items) {
    const fresh = items.map((item) => {
      if ("gap" in item) return el("div", { class: "gap", text: item.gap == null ? "… some lines are lost" : `… ${plural(item.gap, "line")} lost` });
      const text = plain(item.text);
      const tone = /\b(ERROR|CRITICAL|FATAL|Traceback|[A-Z]\w+(Error|Exception)):?\b/.test(text) ? "bad" : /\bWARN(ING)?\b/.test(text) ? "warn" : null;
      return el("div", { "data-tone": tone }, el("time", { text: clock(item.at, true) }), text);
    });
    for (const line of fresh) sift(line);
    lines.append(...fresh);
    while (lines.childElementCount > LINES) lines.firstElementChild.remove();
    put(note, "");
    show(note, false);
    if (state.follows) toEnd();
  }

  /** Begins to follow, if that is allowed. */
  function open(vassal, allowed, signal) {
    const text = allowed ? "Nothing was said yet." : "Logs can hold request data: they are for those who may operate.";
    put(note, text);
    show(note, true);
    for (const one of [lines, ...tools]) show(one, allowed);
    if (!allowed) return;
    const path = (after) => `${vassal.link}/logs?follow&${after ? `after=${after}` : "lines=200"}`;
    keepFollowing(path, (item) => item.id ?? item.number, signal, take, (error) => { put(note, error.message); show(note, true); });
  }
  return { node, open, toggle: () => setFollow(!state.follows) };
}
