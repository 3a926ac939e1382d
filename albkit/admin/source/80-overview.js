// The overview and the header.
const plots = [
  new Plot($("plots"), { title: "Requests per second", stacked: true, format: short, lines: CLASSES.map((name, n) => ({ of: name, label: name, color: `c${n + 2}` })) }),
  new Plot($("plots"), { title: "Latency", format: millis, lines: [{ of: "p50", label: "p50", color: "p50" }, { of: "p99", label: "p99", color: "p99" }],
    axis: (s) => (s >= 1 ? `${+s.toFixed(1)} s` : `${+(s * 1000).toFixed(1)} ms`) }),
  new Plot($("plots"), { title: "Open tunnels", format: short, lines: [{ of: "tunnels", label: "tunnels", color: "tunnel", fill: true }] }),
];
const tiles = {};
for (const [key, label] of [["requests", "Requests"], ["errors", "5xx errors"], ["latency", "Latency, median"], ["healthy", "Healthy targets"], ["connections", "Connections"], ["tunnels", "Tunnels"], ["bytes", "Throughput"]]) {
  const big = h("dd.big", h("span"), h("small")), sub = h("dd.sub");
  tiles[key] = (value, unit, words, tone = "") => { text(big.firstChild, value); text(big.lastChild, unit); text(sub, words); big.firstChild.className = tone; };
  $("tiles").append(h("div", h("dt", label), big, sub));
}
function drawTiles() {
  const all = recent("requests"), of = (name) => (all > 0 ? recent(name) / all : recent(name) > 0 ? 1 : NaN), [t4, t5, e4, e5] = ["t4", "t5", "e4", "e5"].map(of);
  const { p50, p90, p99 } = data.lb.latency || {}, counters = data.lb.counters || {};
  let healthy = 0, targets = 0, outstanding = 0;
  for (const g of data.groups.values()) { healthy += g.healthy; targets += g.targets; outstanding += inFlight(g); }
  tiles.requests(short(recent("requests", 3)), "/s", `${count(outstanding)} in flight`);
  tiles.errors(percent(t5 + e5), "", `targets ${percent(t5)}, balancer ${percent(e5)}\n4xx: ${percent(t4)}, ${percent(e4)}`, t5 + e5 >= 0.05 ? "bad" : t5 + e5 >= 0.01 ? "warn" : "");
  tiles.latency(millis(p50), "", `p90 ${millis(p90)}, p99 ${millis(p99)}`);
  tiles.healthy(count(healthy), `of ${count(targets)}`, `in ${plural(data.groups.size, "group")}`, healthy < targets && [...data.groups.values()].some((g) => g.unhealthy) ? "bad" : "");
  tiles.connections(counters.ActiveConnectionCount == null ? DASH : count(counters.ActiveConnectionCount), "", `${count(counters.RejectedConnectionCount)} rejected since the start`);
  tiles.tunnels(count(counters.ActiveTunnelCount ?? data.tunnels.size), "", `${count(counters.TunnelCount)} opened since the start`);
  tiles.bytes(bytes(recent("bytes")), "/s", `${bytes(counters.ProcessedBytes || 0)} since the start`);
}
// What needs attention, worst first.
function problems() {
  const found = [];
  const add = (level, words, view, ...terms) => found.push({ level, words, href: `#${view}${terms.length ? `?q=${encodeURIComponent(terms.join(" "))}` : ""}` });
  for (const g of data.groups.values()) {
    if (g.fails_open) add("bad", `${g.id} fails open: no target is healthy`, "targets", term("group", g.id));
    else if (g.unhealthy) add("bad", `${g.id}: ${g.unhealthy} of ${plural(g.targets, "target")} unhealthy`, "targets", term("group", g.id), "state:unhealthy");
    else if (!g.targets) add("warn", `${g.id} has no targets`, "groups");
  }
  let ejected = 0;
  for (const t of data.targets.values()) if (isEjected(t)) ejected++;
  if (ejected) add("bad", `${plural(ejected, "target")} ejected`, "targets", "state:ejected");
  for (const c of data.certificates.values()) if (certificateTone(c) !== "good") add(certificateTone(c), `certificate of ${c.names?.[0] || c.id}: ${certificateWords(c)}`, "routing/certificates");
  return found.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1));
}
let problemsDrawn = "";
function drawProblems(found) {
  const key = JSON.stringify(found) + data.targets.size;
  if (key === problemsDrawn) return;
  problemsDrawn = key;
  const box = $("problems"), level = found[0]?.level || "good";
  box.dataset.level = level;
  box.replaceChildren(found.length
    ? h("strong", { class: level }, icon("warning"), plural(found.length, "problem"))
    : h("strong.good", icon("healthy"), data.targets.size ? "No problems" : "No targets yet"));
  if (!found.length) box.append(h("span.soft", "No target is unhealthy or ejected. No certificate expires within 30 days."));
  else box.append(h("ul", ...found.slice(0, 6).map((one) => h("li", h("a", { href: one.href }, one.words))), found.length > 6 && h("li.soft", `and ${found.length - 6} more`)));
}
const navCounts = {};
let tab = "";
function drawTop(found) {
  const { lb } = data, own = lb.name || "albkit", bad = found.filter((one) => one.level === "bad").length;
  text($("name"), own);
  text($("running").firstElementChild, lb.state || "running");
  text($("running").lastElementChild, lb.started_at ? ` · up ${span(now() - lb.started_at)}` : "");
  $("running").hidden = !lb.started_at;
  mark($("running"), "data-tone", lb.state === "draining" ? "warn" : "good");
  document.title = `${bad ? `(${bad}) ` : ""}${own} · albkit`;
  let trouble = 0;
  for (const t of data.targets.values()) if (isTrouble(t)) trouble++;
  for (const [name, n, is] of [["groups", data.groups.size], ["targets", data.targets.size, trouble ? "bad" : ""], ["tunnels", data.tunnels.size], ["history", data.failures.length]]) {
    text(navCounts[name], is ? `${count(trouble)} of ${count(n)}` : name === "history" ? "" : count(n));
    navCounts[name].className = `count ${is || ""}`;
    navCounts[name].hidden = !navCounts[name].textContent;
    mark(navCounts[name], "title", is ? `${trouble} unhealthy or ejected` : null);
  }
  if (tab !== view) {
    tab = view;
    const nav = $("nav").parentElement, here = nav.querySelector("[aria-current]");
    nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
  }
}
const KINDS = { TargetEjected: ["bad", "ejected"], TargetReadmitted: ["good", "healthy"], TargetRegistered: ["", "healthy"], TargetDrained: ["calm", "drained"], TargetStateChanged: ["warn", "initial"], TargetAnomalyChanged: ["warn", "warning"] };
function eventRow(event) {
  let [tone, shape] = KINDS[event.kind] || ["", "info"];
  if (event.kind === "TargetStateChanged") for (const state of ["unhealthy", "healthy", "draining"]) if (new RegExp(`\\b${state}\\b`).test(event.text)) { tone = TONES[state]; shape = state; break; }
  const words = event.kind.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return h("li", { "data-tone": tone }, h("time", { title: when(event.at) }, dayTime.format(event.at * 1000)),
    h("div", h("span.kind", icon(shape), words[0].toUpperCase() + words.slice(1)), h("div", event.text)));
}
function failureRow(failure) {
  const more = [failure.request, failure.client && `from ${failure.client}`, failure.group && `${failure.group}${failure.target ? ` → ${failure.target}` : ""}`, failure.rule && `rule ${failure.rule}`].filter(Boolean).join(" · ");
  return h("li", { "data-tone": failure.side === "client" ? "warn" : "bad" }, h("time", { title: when(failure.at) }, dayTime.format(failure.at * 1000)),
    h("div", h("span.kind", failure.reason, failure.status ? h("span.badge.tag", String(failure.status)) : null), " ", h("span", failure.sentence || ""),
      h("div.more", more), failure.detail && h("div.more", failure.detail)));
}
const feeds = new Map();
function drawFeed(id, items, row, limit, empty, terms = []) {
  const list = $(id), wanted = (terms.length ? items.filter((item) => terms.every((one) => (item.$find ??= Object.values(item).join(" ").toLowerCase()).includes(one))) : items).slice(0, limit);
  const key = `${wanted.length} ${wanted[0]?.id} ${terms}`;
  if (feeds.get(id) === key) return;
  feeds.set(id, key);
  list.replaceChildren(...(wanted.length ? wanted.map(row) : [h("li.none", items.length ? "Nothing matches the filter." : empty)]));
}
