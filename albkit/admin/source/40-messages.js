// Messages: toasts, dialogs, and lines for screen readers.
let saying = 0, unsaid = [];
function say(words) {
  if (words) unsaid.push(words);
  // At most one line in 3 seconds: many events at once would keep a screen reader busy.
  if (saying || !unsaid.length) return;
  saying = setTimeout(() => {
    $("announce").textContent = unsaid.slice(-3).join(" ");
    unsaid = [];
    saying = setTimeout(() => { saying = 0; say(); }, 3000);
  }, 300);
}
function sayEvents(events) {
  const loud = events.filter((event) => /Ejected|Readmitted|StateChanged|Drained/.test(event.kind));
  if (loud.length) say(loud.length > 2 ? `${loud.length} events, the latest: ${loud[0].text}` : loud.map((event) => event.text).join(". "));
}
let lastUndo = null;
function toast(words, { undo, bad, faults, seconds = undo ? 10 : bad ? 15 : 5 } = {}) {
  const bar = h("i");
  if (!bad) say(undo ? `${words} Press u to undo.` : words);
  const box = h("div", { class: bad ? "toast bad" : "toast", role: bad && "alert" }, h("p", words));
  if (faults?.length) box.append(h("ul", ...faults.map((fault) => h("li", faultWords(fault)))));
  let timer = 0;
  const close = () => { clearTimeout(timer); box.remove(); if (lastUndo === act) lastUndo = null; };
  const act = undo && (() => { close(); undo(); });
  if (act) { box.append(h("button.undo.small", { onclick: act }, "Undo")); lastUndo = act; }
  box.append(h("button.small", { "aria-label": "Dismiss this message", onclick: close }, "✕"), bar);
  const run = () => { timer = setTimeout(close, seconds * 1000); bar.style.transitionDuration = `${seconds}s`; bar.style.transform = "scaleX(0)"; };
  const hold = () => { clearTimeout(timer); bar.style.transitionDuration = "0s"; bar.style.transform = "none"; };
  for (const event of ["pointerenter", "focusin"]) on(box, event, hold);
  for (const event of ["pointerleave", "focusout"]) on(box, event, run);
  $("toasts").append(box);
  while ($("toasts").children.length > 4) $("toasts").firstElementChild.remove();
  requestAnimationFrame(() => requestAnimationFrame(run));
  return close;
}
const faultWords = (fault) => (fault.path ? `${fault.path}: ${fault.message}` : fault.message);
function failed(what) {
  return (error) => {
    if (!(error instanceof Refused)) throw error;
    toast(`${what} ${error.message}`, { bad: true, faults: error.faults });
  };
}
function ask(title, words, yes) {
  text($("ask-title"), title);
  text($("ask-text"), words);
  text($("ask-yes"), yes);
  const box = $("ask");
  box.returnValue = "no";
  box.showModal();
  return new Promise((done) => on(box, "close", () => done(box.returnValue === "yes"), { once: true }));
}
let asking = null;
function askToken(wrong) {
  const box = $("token");
  text(box.querySelector(".fault"), wrong ? "The admin API did not accept this token." : "");
  if (!asking) {
    asking = new Promise((done) => on(box, "close", () => { asking = null; done(); }, { once: true }));
    if (!box.open) box.showModal();
  }
  return asking;
}
on($("token"), "cancel", (event) => event.preventDefault());
on($("token").querySelector("form"), "submit", (event) => {
  event.preventDefault();
  token = event.target.token.value.trim();
  store("sessionStorage", "albkit-token", token);
  event.target.token.value = "";
  $("token").close();
});
