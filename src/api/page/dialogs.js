// What comes up over the page: questions, failures, and notes of what is being done.

/** Opens a dialog with a title and parts; gives the value of the button that closed it. */
function dialog(title, parts, buttons, wide = false) {
  const heading = el("h2", { id: "dialog-title", text: title });
  // Enter in a field takes the first button that submits: never one that only closes.
  const row = el("div", { class: "buttons" }, ...buttons.map(({ label, value, tone }) => (value
    ? el("button", { type: "submit", value, text: label, class: tone ?? "" })
    : el("button", { type: "button", text: label, onclick: () => node.close("") }))));
  const form = el("form", { method: "dialog" }, heading, ...parts, row);
  const node = el("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : "" }, form);
  document.body.append(node);
  return new Promise((done) => {
    node.addEventListener("close", () => { node.remove(); done(node.returnValue); });
    node.addEventListener("click", (event) => { if (event.target === node) node.close(""); });
    node.showModal();
  });
}

async function confirmed(question, detail, verb) {
  const answer = await dialog(question, [el("p", { text: detail })], [
    { label: "Cancel", value: "" },
    { label: verb, value: "yes", tone: "danger" },
  ]);
  return answer === "yes";
}

/** Asks for a value by a field; `null`: none. */
async function asked(question, detail, field, verb) {
  const label = el("label", { class: "field" }, el("span", { text: detail }), field);
  const answer = await dialog(question, [label], [{ label: "Cancel", value: "" }, { label: verb, value: "yes", tone: "main" }]);
  return answer === "yes" ? field.value : null;
}

/** A failure, whole: the sentence, the mistakes with their places, the traceback, what to do. */
function failureParts(failure) {
  const mistakes = (failure.diagnostics ?? []).map((one) => {
    const place = `${one.file}${one.line ? `:${one.line}` : ""}`;
    return el("li", {},
      el("b", { class: one.severity === "error" ? "bad" : "warn", text: one.severity }), " ",
      el("code", { text: place }), ` ${one.option ? `${one.option}: ` : ""}${one.message}`,
      one.suggestion && el("div", { class: "hint", text: one.suggestion }));
  });
  return [
    el("p", { class: "message", text: plain(failure.message) }),
    mistakes.length > 0 && el("ul", { class: "mistakes" }, ...mistakes),
    failure.traceback && el("pre", { class: "traceback", tabindex: "0", "aria-label": "Traceback", text: plain(failure.traceback) }),
    failure.hint && el("p", { class: "hint", text: failure.hint }),
  ];
}

function showFailure(title, failure) {
  return dialog(title, failureParts(failure), [{ label: "Close", value: "" }], true);
}

/** A problem document as a failure. */
function asFailure(problem, error) {
  const place = problem.file ? ` (${problem.file}${problem.line ? `:${problem.line}` : ""})` : "";
  return { message: (problem.detail ?? error.message) + place, traceback: problem.traceback, hint: problem.suggestion };
}

/** A note in the corner. What went well goes by itself; what did not stays until it is closed. */
function toast(text) {
  const line = el("span", { text });
  const more = el("button", { type: "button", class: "quiet", hidden: true, text: "Why?" });
  const close = el("button", { type: "button", class: "quiet", "aria-label": "Close", text: "×" });
  const node = el("div", { class: "toast", "data-tone": "busy" }, el("i", { class: "dot", "aria-hidden": "true" }), line, more, close);
  close.addEventListener("click", () => node.remove());
  $("toasts").append(node);
  while ($("toasts").childElementCount > 5) $("toasts").firstElementChild.remove();
  return {
    end(tone, words, why) {
      node.dataset.tone = tone;
      put(line, words);
      if (why) { more.hidden = false; more.addEventListener("click", why); }
      else setTimeout(() => node.remove(), tone === "good" ? 6000 : 15_000);
    },
  };
}

async function enterToken(said) {
  const field = el("input", { type: "password", autocomplete: "off", spellcheck: "false", "aria-label": "Token" });
  const parts = [
    said && el("p", { class: "bad", text: said }),
    el("p", { text: "One of the tokens in the file that the emperor was given. It is kept until this tab is closed, and sent to this host only." }),
    el("label", { class: "field" }, el("span", { text: "Token" }), field),
  ];
  const buttons = [{ label: "Cancel", value: "" }, { label: "Use it", value: "yes", tone: "main" }];
  if (hasToken()) buttons.push({ label: "Forget the one in use", value: "forget" });
  const answer = await dialog("Token", parts, buttons);
  if (answer === "yes" && field.value.trim() !== "") keepToken(field.value.trim());
  else if (answer === "forget") keepToken(null);
  else return false;
  return true;
}

const KEYS = [
  ["/", "filter"],
  ["↑ ↓ or k j", "go through the vassals"],
  ["Home End", "the first, the last"],
  ["Enter", "open the vassal"],
  ["r", "reload the vassal"],
  ["f", "follow its log, or stop it"],
  ["e", "events of the host"],
  ["Esc", "clear the filter; back"],
  ["?", "this"],
];

function showKeys() {
  const rows = KEYS.flatMap(([keys, what]) => [el("dt", {}, ...keys.split(" ").map((key) => (key === "or" ? " or " : el("kbd", { text: key })))), el("dd", { text: what })]);
  return dialog("Keys", [el("dl", { class: "keys" }, ...rows)], [{ label: "Close", value: "" }]);
}
