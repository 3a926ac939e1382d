// The columns of the tables.
const opener = (kind, words) => (cell, row) => {
  const button = h("button.name", { tabindex: -1, onclick: () => panel.open(kind, row.item.id, button) });
  cell.append(button);
  return (item) => { const name = words(item); text(button, name); mark(button, "title", name); };
};
const sparkColumn = (ticks, unit) => (cell) => {
  const canvas = h("canvas", { "aria-hidden": "true" }), words = h("span");
  cell.append(h("div.spark", canvas, words, h("span.sr", unit)));
  let drawn = -1, whose = null, theme = null;
  return (item) => {
    if (drawn === tick && whose === item && theme === colors) return;
    drawn = tick; whose = item; theme = colors;
    spark(canvas, item, ticks);
    text(words, short(rate(item)));
  };
};
const toned = (words, tone) => (cell) => (item) => { text(cell, words(item)); cell.className = cell.className.replace(/ ?(good|warn|bad|dim)$/, ""); const is = tone(item); if (is) cell.classList.add(is); };
const errorTone = (item) => { const share = errors(item); return share === null ? "dim" : share >= 0.05 ? "bad" : share >= 0.01 ? "warn" : ""; };
const groupLink = (cell) => {
  const a = h("a", { tabindex: -1 });
  cell.append(a);
  return (item) => { text(a, item.group ?? DASH); mark(a, "href", `#targets?q=${encodeURIComponent(term("group", item.group))}`); };
};

const TRAFFIC = [
  { key: "errors", title: "Errors", hint: "Share of requests that failed in the last 10 s", w: 58, need: 2, num: true, card: "err", sort: errors, make: toned((i) => percent(errors(i)), errorTone) },
  { key: "p50", title: "p50", hint: "Median time until a response begins, last 10 s", w: 60, need: 3, num: true, sort: (i) => i.latency?.p50, text: (i) => millis(i.latency?.p50) },
  { key: "p99", title: "p99", hint: "99 % of responses began within this time, last 10 s", w: 62, need: 2, num: true, card: "p99", sort: (i) => i.latency?.p99, text: (i) => millis(i.latency?.p99) },
  { key: "outstanding", title: "In flight", hint: "Requests without a complete response, without tunnels", w: 58, need: 4, num: true, sort: inFlight, text: (i) => count(inFlight(i)) },
  { key: "tunnels", title: "Tunnels", w: 58, need: 4, num: true, card: "tun", sort: (i) => i.tunnels, text: (i) => count(i.tunnels) },
  { key: "bytes", title: "Bytes/s", w: 70, need: 5, num: true, sort: (i) => rate(i, "bytes"), text: (i) => bytes(rate(i, "bytes")) },
];
const lastActive = { key: "active", title: "Last active", w: 92, need: 7, num: true, dim: true, sort: (i) => i.last_active_at, text: (i) => ago(i.last_active_at) };

const groupColumns = () => [
  { key: "name", title: "Group", w: 130, f: 2, card: "name", sort: (g) => natural(g.id), make: (cell, row) => {
    const open = document.createElement("div"), flag = badge("warn", "warning", "fails open");
    flag.title = "No target is healthy: requests are sent to all of them.";
    cell.append(h("div.pair", open, flag));
    const name = opener("group", (g) => g.id)(open, row);
    return (g) => { name(g); flag.hidden = !g.fails_open; };
  } },
  { key: "health", title: "Healthy", hint: "Share of healthy targets", w: 138, card: "state", sort: (g) => (g.targets ? g.healthy / g.targets : 2), numeric: true, make: (cell) => {
    const part = h("b"), bar = h("i", { "aria-hidden": "true" }, part), words = h("span");
    cell.append(h("div.health", bar, words));
    return (g) => {
      part.style.width = g.targets ? `${(100 * g.healthy) / g.targets}%` : "0";
      bar.className = g.unhealthy || (g.targets && !g.healthy) ? "" : "empty";
      text(words, g.targets ? `${g.healthy} of ${g.targets}` : "no targets");
      words.className = g.unhealthy ? "bad" : "";
    };
  } },
  { key: "rate", title: "Requests/s", w: 136, num: true, card: "rate", sort: (g) => rate(g), make: sparkColumn(90, "requests per second") },
  ...TRAFFIC, { key: "algorithm", title: "Algorithm", w: 128, f: 1, need: 6, dim: true, text: (g) => g.algorithm || DASH, tip: true },
  { key: "stickiness", title: "Stickiness", w: 110, f: 1, need: 8, dim: true, text: (g) => g.stickiness || DASH, tip: true }, lastActive,
  { key: "go", name: "Targets", no: true, num: true, w: 60, card: "act", make: (cell) => { const a = h("a", { tabindex: -1 }, "Targets"); cell.append(a); return (g) => { mark(a, "href", `#targets?q=${encodeURIComponent(term("group", g.id))}`); mark(a, "aria-label", `Targets of ${g.id}`); }; } },
];
const GROUP_CARD = { cardAreas: ["name name state act", "rate err p99 tun"], cardColumns: "1.6fr 1fr 1.3fr 1fr", cardHeight: 84 };

const targetColumns = [
  { key: "state", title: "State", w: 146, card: "state", sort: (t) => SEVERITY.indexOf(shown(t)), numeric: true, make: (cell) => {
    let was = null, mine = null;
    return (t) => {
      const is = shown(t);
      if (is !== was) { was = is; mine = badge(is === "ejected" ? "bad" : TONES[is], is, ""); cell.replaceChildren(mine); }
      text(mine.lastElementChild, stateWords(t));
    };
  } },
  { key: "address", title: "Target", w: 158, f: 2, card: "name", sort: (t) => natural(t.address), make: (cell, row) => {
    const open = document.createElement("div"), flag = h("span.badge.tag", "standby");
    cell.append(h("div.pair", open, flag));
    const name = opener("target", (t) => t.address)(open, row);
    return (t) => { name(t); flag.hidden = !t.standby; };
  } },
  { key: "group", title: "Group", w: 92, f: 1, need: 2, card: "grp", label: false, sort: (t) => natural(t.group), make: groupLink },
  { key: "why", title: "Reason, or last check", w: 150, f: 3, need: 4, card: "why", label: false, dim: true, text: reasonWords, tip: true },
  { key: "weight", title: "Weight", w: 50, need: 3, num: true, sort: (t) => t.weight, text: (t) => String(t.weight ?? DASH) },
  { key: "rate", title: "Requests/s", w: 130, num: true, card: "rate", sort: (t) => rate(t), make: sparkColumn(60, "requests per second") },
  ...TRAFFIC, lastActive,
  { key: "act", name: "Action", no: true, num: true, w: 78, card: "act", make: (cell, row) => {
    const button = h("button.small", { tabindex: -1, onclick: () => { const t = row.item; (leaves(t) ? putBack(t) : drain(t)).catch(failed(`${t.address}: nothing is changed.`)); } });
    cell.append(button);
    return (t) => { const words = leaves(t) ? "Put back" : "Drain"; text(button, words); mark(button, "aria-label", `${words} ${t.address} of ${t.group}`); };
  } },
];
const chosen = new Set(); // Ids of the tunnels that are selected.
let lastChosen = null;
const tunnelColumns = [
  { key: "choose", name: "Select", no: true, w: 18, card: "sel", head: () => h("input", { type: "checkbox", id: "choose-all", tabindex: -1, "aria-label": "Select all tunnels that match the filter", onchange: (event) => {
    chosen.clear();
    if (event.target.checked) for (const item of tunnelGrid.passingItems) chosen.add(item.id);
    tunnelGrid.refresh();
  } }), make: (cell, row) => {
    const box = h("input", { type: "checkbox", tabindex: -1, onclick: (event) => {
      const { id } = row.item, { order } = tunnelGrid;
      // Shift selects all rows since the last click.
      const ends = [order.indexOf(event.shiftKey && lastChosen !== null ? lastChosen : id), order.indexOf(id)].sort((a, b) => a - b);
      for (const one of ends[0] < 0 ? [id] : order.slice(ends[0], ends[1] + 1)) if (box.checked) chosen.add(one); else chosen.delete(one);
      lastChosen = id;
      tunnelGrid.refresh();
    } });
    cell.append(box);
    return (u) => { box.checked = chosen.has(u.id); mark(box, "aria-label", `Select tunnel ${u.id}, ${u.client}`); };
  } },
  { key: "client", title: "Client", w: 150, f: 2, card: "name", sort: (u) => (u.$client ??= natural(u.client)), make: opener("tunnel", (u) => u.client) },
  { key: "target", title: "Target", w: 140, f: 2, need: 2, card: "tgt", sort: (u) => (u.$target ??= natural(u.target)), text: (u) => u.target ?? DASH, tip: true },
  { key: "group", title: "Group", w: 90, f: 1, need: 3, card: "grp", sort: (u) => u.group ?? "", make: groupLink },
  { key: "protocol", title: "Protocol", w: 84, f: 1, need: 4, dim: true, text: (u) => u.protocol ?? "" },
  { key: "age", title: "Age", w: 92, num: true, card: "age", sort: (u) => now() - u.opened_at, text: (u) => span(now() - u.opened_at) },
  { key: "idle", title: "Idle", w: 92, num: true, card: "idl", sort: (u) => now() - u.last_active_at, text: (u) => span(now() - u.last_active_at) },
  { key: "in", title: "Bytes in", hint: "From the client", w: 80, need: 2, num: true, card: "inn", sort: (u) => u.bytes_in, text: (u) => bytes(u.bytes_in) },
  { key: "out", title: "Bytes out", hint: "To the client", w: 80, need: 2, num: true, card: "out", sort: (u) => u.bytes_out, text: (u) => bytes(u.bytes_out) },
  { key: "act", name: "Action", no: true, num: true, w: 62, card: "act", make: (cell, row) => {
    const button = h("button.small", { tabindex: -1, onclick: () => closeTunnels([row.item], "").catch(failed("The tunnel is not closed.")) }, "Close");
    cell.append(button);
    return (u) => mark(button, "aria-label", `Close tunnel ${u.id} of ${u.client}`);
  } },
];
const listenerColumns = [
  { key: "name", title: "Listener", w: 120, f: 1, card: "name", sort: (l) => natural(l.id), make: opener("listener", (l) => l.name || l.id) },
  { key: "url", title: "Address", w: 150, f: 2, need: 2, card: "url", label: false, text: (l) => l.url || `${l.protocol} ${l.host}:${l.port}`, tip: true },
  { key: "rate", title: "Requests/s", w: 136, num: true, card: "rate", sort: (l) => rate(l), make: sparkColumn(90, "requests per second") },
  { key: "mix", title: "Responses", hint: "Shares of 2xx, 3xx, 4xx and 5xx since the start", no: true, w: 150, f: 2, need: 3, card: "mix", make: (cell) => {
    const parts = CLASSES.map((name, n) => { const part = h("i"); part.style.background = `var(--c${n + 2})`; return part; }), words = h("span.sr");
    cell.append(h("div.mix", { "aria-hidden": "true" }, ...parts), words);
    return (l) => {
      const all = sum(l.responses), share = (name) => (all ? (l.responses[name] || 0) / all : 0);
      CLASSES.forEach((name, n) => { const width = `${(100 * share(name)).toFixed(2)}%`; if (parts[n].style.flexBasis !== width) parts[n].style.flexBasis = width; });
      const said = all ? CLASSES.map((name) => `${name} ${percent(share(name))}`).join(", ") : "no responses yet";
      text(words, said);
      mark(cell, "title", said);
    };
  } },
  { key: "s5", title: "5xx/s", w: 60, need: 4, num: true, sort: (l) => rate(l, "bad", 10), make: toned((l) => short(rate(l, "bad", 10)), (l) => (rate(l, "bad", 10) > 0 ? "bad" : "dim")) },
  { key: "requests", title: "Requests", w: 92, need: 4, num: true, sort: (l) => l.requests, text: (l) => count(l.requests) },
  { key: "connections", title: "Connections", w: 84, need: 2, num: true, card: "con", sort: (l) => l.active_connections, text: (l) => count(l.active_connections) },
  { key: "bytes", title: "Bytes/s", w: 76, need: 3, num: true, card: "byt", sort: (l) => rate(l, "bytes"), text: (l) => bytes(rate(l, "bytes")) },
  { key: "rules", title: "Rules", w: 50, need: 3, num: true, sort: (l) => l.rules, text: (l) => count(l.rules) },
];
const ruleOrder = (r) => `${natural(r.listener)} ${String(r.priority || 1e9).padStart(10, "0")}`;
const ruleColumns = [
  { key: "listener", title: "Listener", w: 84, f: 1, need: 3, card: "lst", sort: ruleOrder, text: (r) => r.listener, tip: true, dim: true },
  { key: "priority", title: "Priority", w: 64, card: "name", numeric: true, sort: (r) => r.priority || 1e9, make: opener("rule", (r) => (r.priority ? String(r.priority) : "default")) },
  { key: "conditions", title: "If", no: true, w: 200, f: 5, wrap: true, card: "cnd", label: false, tip: true, text: (r) => (r.conditions?.length ? r.conditions.join(" and ") : r.priority ? "always" : "no other rule matches") },
  { key: "action", title: "Then", w: 160, f: 4, wrap: true, card: "then", tip: true, text: (r) => r.action ?? "" },
  { key: "rate", title: "Hits/s", w: 136, num: true, card: "rate", sort: (r) => rate(r), make: sparkColumn(90, "hits per second") },
  { key: "hits", title: "Hits", w: 84, need: 2, num: true, card: "hit", sort: (r) => r.hits, text: (r) => count(r.hits) },
];
const certificateColumns = [
  { key: "names", title: "Names", w: 180, f: 3, card: "name", label: false, sort: (c) => (c.names || []).join(), make: opener("certificate", (c) => (c.names || []).join(", ") || c.id) },
  { key: "listener", title: "Listener", w: 90, f: 1, need: 3, card: "lst", text: (c) => c.listener ?? DASH },
  { key: "expiry", title: "Expires", w: 230, f: 1, card: "exp", sort: (c) => c.not_after, numeric: true, make: (cell) => {
    let was = null, mine = null;
    return (c) => {
      const tone = certificateTone(c);
      if (tone !== was) { was = tone; mine = badge(tone, tone === "good" ? "healthy" : "warning", ""); cell.replaceChildren(h("span.pair", mine, h("span.dim"))); }
      text(mine.lastElementChild, certificateWords(c));
      text(mine.nextElementSibling, dateOnly.format(c.not_after * 1000));
    };
  } },
  { key: "key", title: "Key", w: 110, need: 2, card: "key", dim: true, text: (c) => c.key_type ?? DASH },
  { key: "file", title: "File", w: 150, f: 3, need: 4, dim: true, text: (c) => c.id, tip: true },
];
