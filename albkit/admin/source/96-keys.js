// Theme, pause, help and keyboard shortcuts.
let theme = store("localStorage", "albkit-theme") || "auto";
function setTheme(to) {
  theme = to;
  mark(html, "data-theme", to === "auto" ? null : to);
  store("localStorage", "albkit-theme", to === "auto" ? null : to);
  $("theme").replaceChildren(icon(to));
  mark($("theme"), "aria-label", `Theme: ${to === "auto" ? "as the system" : to}`);
  mark($("theme"), "title", $("theme").getAttribute("aria-label"));
  colors = {};
  if (tick >= 0) draw(true);
}
on($("theme"), "click", () => setTheme({ auto: "light", light: "dark", dark: "auto" }[theme]));
on(matchMedia("(prefers-color-scheme: dark)"), "change", () => setTheme(theme));
function setPaused(to) {
  paused = to;
  mark($("pause"), "aria-pressed", String(to));
  mark($("pause"), "title", to ? "Resume updates" : "Pause updates");
  $("pause").replaceChildren(icon(to ? "play" : "pause"));
  drawLink();
  if (!to) soon();
}
on($("pause"), "click", () => setPaused(!paused));
const KEYS = [["/", "Filter the table"], ...VIEWS.map(([, title, key]) => [`g ${key}`, title]), ["g l", "Listeners"], ["g c", "Certificates"], ["g x", "Try a request"], ["g f", "Failures"], ["↑ ↓", "Move between rows; also Home, End, Page Up, Page Down"], ["← →", "Move between column headings; Enter sorts"], ["Enter", "Open the details of a row, or press its button"],
  ["Escape", "Close details"], ["u", "Undo the last action"], ["p", "Pause or resume"], ["?", "This help"]];
for (const [keys, words] of KEYS) $("keys").append(h("dt", ...keys.split(" ").flatMap((key, n) => [n ? " " : null, h("kbd", key)])), h("dd", words));
function help() {
  text($("version"), data.lb.version ? `albkit ${data.lb.version}, started ${when(data.lb.started_at)}` : "");
  $("help").showModal();
}
on($("help-button"), "click", help);
const shortcuts = $("shortcuts");
shortcuts.checked = store("localStorage", "albkit-keys") !== "off";
on(shortcuts, "change", () => store("localStorage", "albkit-keys", shortcuts.checked ? null : "off"));
let going = 0;
on(window, "keydown", (event) => {
  if (event.key === "Escape" && $("panel").open && !document.querySelector("dialog.modal[open]")) { panel.close(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || !shortcuts.checked || document.querySelector("dialog.modal[open]")) return;
  if (event.target.matches("input:not([type='checkbox']), select, textarea")) return;
  const { key } = event, second = performance.now() - going < 1500;
  going = 0;
  if (second) {
    const to = VIEWS.find((one) => one[2] === key)?.[0] || PLACES[key];
    if (to) { event.preventDefault(); go(to); return; }
  }
  if (key === "g") going = performance.now();
  else if (key === "/") { const filter = filterOf(view); if (filter) { event.preventDefault(); filter.focus(); filter.select(); } else go("targets"); }
  else if (key === "?") help();
  else if (key === "u") lastUndo?.();
  else if (key === "p") setPaused(!paused);
});

setPaused(false);
setTheme(theme);
route(false);
follow();
