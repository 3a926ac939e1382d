// The views, whose names and filters are in the hash of the URL.
const VIEWS = [["overview", "Overview", "o"], ["groups", "Groups", "g"], ["targets", "Targets", "t"], ["tunnels", "Tunnels", "u"], ["routing", "Routing", "r"], ["history", "History", "e"]];
const PLACES = { l: "routing/listeners", c: "routing/certificates", x: "routing/try", f: "history/failures" };
for (const [name, title, key] of VIEWS) {
  navCounts[name] = h("span.count", { hidden: true });
  $("nav").append(h("li", h("a", { href: `#${name}`, "data-to": name, "aria-keyshortcuts": `g ${key}` }, title, navCounts[name])));
}
let view = "";
function route(focus) {
  const [, name = "", place, query = ""] = location.hash.match(/^#(\w+)(?:\/(\w+))?(?:\?(.*))?$/) || [];
  const to = VIEWS.some(([one]) => one === name) ? name : "overview", changed = view !== to;
  view = to;
  for (const section of views) section.hidden = section.dataset.view !== to;
  for (const a of document.querySelectorAll("[data-to]")) mark(a, "aria-current", a.dataset.to === to ? "page" : null);
  const filter = filterOf(to);
  if (filter && (query || changed)) filter.value = new URLSearchParams(query).get("q") || "";
  if (innerWidth < 700 || changed) panel.close();
  if (changed) scrollTo({ top: 0, behavior: "instant" });
  draw(true);
  const mine = place ? $(`at-${place}`) : null;
  if (mine) scrollBy({ top: mine.getBoundingClientRect().top - $("top").offsetHeight - 12, behavior: "instant" });
  if (focus) (mine || views.find((section) => !section.hidden)).querySelector("[tabindex='-1']")?.focus({ preventScroll: true });
}
let byKey = false;
on(window, "hashchange", () => { route(byKey); byKey = false; });
function go(to) { byKey = true; if (location.hash === `#${to}`) route(true); else location.hash = to; }
on(document.querySelector(".skip"), "click", (event) => { event.preventDefault(); $("main").focus(); });
for (const input of document.querySelectorAll("input[type='search']")) {
  on(input, "input", () => {
    history.replaceState(null, "", `#${view}${input.value ? `?q=${encodeURIComponent(input.value)}` : ""}`);
    draw(true);
  });
  on(input, "keydown", (event) => { if (event.key === "Escape" && !input.value) input.blur(); });
}
function setFilter(words) { const input = filterOf("targets"); input.value = words.trim(); input.dispatchEvent(new Event("input")); }
on($("group-choice"), "change", (event) => {
  const rest = filterOf("targets").value.replace(/group:("[^"]*"|\S+)\s*/g, "");
  setFilter(event.target.value ? `${term("group", event.target.value)} ${rest}` : rest);
});
for (const [value, words] of [["is:trouble", "Trouble"], ["is:draining", "Draining"], ["is:standby", "Standby"]]) {
  $("target-chips").append(h("button.small", { value, "aria-pressed": "false", onclick: () => { const had = filterOf("targets").value; setFilter(had.includes(value) ? had.replace(value, "") : `${had} ${value}`); } }, words));
}
on($("close-selected"), "click", closeChosen);
on($("close-all"), "click", () => closeTunnels([...data.tunnels.values()], "These are all tunnels of this load balancer", { all: true }).catch(failed("The tunnels are not closed.")));
for (const button of document.querySelectorAll("[data-act]")) on(button, "click", () => (button.dataset.act === "reopen" ? reopen() : register()));
for (const button of document.querySelectorAll("[data-close]")) on(button, "click", () => button.closest("dialog").close());
on($("reconnect"), "click", reconnect);
