// The panel with the details of one item.
const latencies = (i) => (i.latency ? `p50 ${millis(i.latency.p50)}, p90 ${millis(i.latency.p90)}, p99 ${millis(i.latency.p99)} (${count(i.latency.count)} in 10 s)` : DASH);
const CONNECTIONS = { "Connection errors": (i) => count(i.connection_errors), Retries: (i) => count(i.retries) };
const REQUESTS = { Requests: (i) => `${count(i.requests)} (${short(rate(i))}/s)`, Responses: (i) => CLASSES.map((name) => `${name} ${count(i.responses?.[name])}`).join(", ") };
const BYTES = { Bytes: (i) => bytes(i.processed_bytes) };
const LOAD = { ...REQUESTS, "Errors now": (i) => percent(errors(i)), ...CONNECTIONS, Latency: latencies, Tunnels: (i) => count(i.tunnels), ...BYTES, "Last active": (i) => ago(i.last_active_at) };
// The lines of the panel for each kind of item.
const FACTS = {
  target: { Group: (t) => t.group, Reason: (t) => t.reason, "Last check": (t) => checkWords(t) || "none yet",
    "In flight": (t) => `${count(inFlight(t))}${t.max_concurrency ? `; at most ${t.max_concurrency} with tunnels` : ""}`, Errors: (t) => count(t.errors), ...LOAD },
  group: { Healthy: (g) => `${g.healthy} of ${g.targets}`, Protocol: (g) => [g.protocol, g.protocol_version].filter(Boolean).join(", "), Algorithm: (g) => g.algorithm,
    Stickiness: (g) => g.stickiness || "none", "Health check": (g) => g.health_check || "none", "Deregistration delay": (g) => span(g.deregistration_delay || 0),
    "In flight": (g) => count(inFlight(g)), ...LOAD },
  tunnel: { Client: (u) => u.client, Group: (u) => u.group, Target: (u) => u.target, Protocol: (u) => u.protocol, Opened: (u) => `${when(u.opened_at)}, ${ago(u.opened_at)}`,
    "Last byte": (u) => ago(u.last_active_at), "From the client": (u) => bytes(u.bytes_in), "To the client": (u) => bytes(u.bytes_out) },
  listener: { Address: (l) => l.url || `${l.host}:${l.port}`, Protocol: (l) => l.protocol, ...REQUESTS, Connections: (l) => count(l.active_connections), ...BYTES, Rules: (l) => count(l.rules) },
  rule: { Listener: (r) => r.listener, Priority: (r) => (r.priority ? String(r.priority) : "default: no other rule matches"), If: (r) => (r.conditions || []).join("\nand ") || "always",
    Then: (r) => r.action, Hits: (r) => `${count(r.hits)} (${short(rate(r))}/s)` },
  certificate: { Names: (c) => (c.names || []).join(", "), Expires: (c) => `${when(c.not_after)}: ${certificateWords(c)}`, Key: (c) => c.key_type, Listener: (c) => c.listener, File: (c) => c.id },
};
const TITLES = { target: (t) => t.address, group: (g) => g.id, tunnel: (u) => `Tunnel ${u.id}`, listener: (l) => l.name || l.id, rule: (r) => (r.priority ? `Rule ${r.id}` : `Default action of ${r.listener}`), certificate: (c) => c.names?.[0] || c.id };

const panel = {
  key: null, update: null, from: null,
  open(kind, id, from) {
    const item = data[`${kind}s`].get(id);
    if (!item) return;
    this.key = `${kind}/${id}`;
    this.from = from;
    text($("panel-title"), TITLES[kind](item));
    const updates = [], body = $("panel-body"), sub = $("panel-sub"), values = this.facts(kind, updates), canvas = h("canvas", { "aria-hidden": "true" });
    sub.replaceChildren();
    body.replaceChildren();
    this[kind]?.(item, sub, body, updates);
    if (COUNTED[`${kind}s`]) { body.append(h("h3", kind === "rule" ? "Hits" : "Requests"), canvas); updates.push((it) => spark(canvas, it, COUNTED[`${kind}s`].size)); }
    body.append(values);
    this.update = () => {
      const it = data[`${kind}s`].get(id);
      body.toggleAttribute("inert", !it);
      if (it) for (const update of updates) update(it);
      else if (!sub.dataset.over) { sub.dataset.over = "1"; sub.replaceChildren(badge("", "drained", "no longer there")); }
    };
    delete sub.dataset.over;
    const box = $("panel");
    if (!box.open) box.show();
    $("main").inert = innerWidth < 700;
    this.update();
    $("panel-title").focus({ preventScroll: true });
    paintAll();
  },
  close() {
    if (!$("panel").open) return;
    $("panel").close();
    $("main").inert = false;
    this.key = this.update = null;
    if (this.from?.isConnected) this.from.focus({ preventScroll: true });
    paintAll();
  },
  facts(kind, updates) {
    const kept = h("dl.facts");
    for (const [label, of] of Object.entries(FACTS[kind])) {
      const value = h("dd");
      kept.append(h("dt", label), value);
      updates.push((item) => text(value, String(of(item) || DASH)));
    }
    return kept;
  },
  target(t, sub, body, updates) {
    let was = "";
    const why = h("p.why");
    const current = () => data.targets.get(t.id) || t;
    const sure = (work, words) => () => work(current()).catch(failed(words || "Nothing is changed."));
    const move = h("button.main", { onclick: sure((it) => (leaves(it) ? putBack(it) : drain(it))) });
    const spare = h("button", { "aria-pressed": "false", onclick: sure((it) => setStandby(it, !it.standby)) }, "Standby");
    const tunnels = h("button", { onclick: () => { const it = current(); closeTunnels([...data.tunnels.values()].filter((u) => u.group === it.group && u.target === it.address), `All tunnels to ${it.address} of ${it.group}`, { group: it.group, target: it.address }).catch(failed("The tunnels are not closed.")); } });
    const weight = h("input", { type: "number", min: 0, max: 999, name: "weight", required: true, value: t.weight });
    const form = h("form.bar", { onsubmit: (event) => { event.preventDefault(); const it = current(); if (weight.value !== "" && +weight.value !== it.weight) setWeight(it, +weight.value).catch(failed("The weight is not changed.")); } },
      h("label.bar", h("span.field-label", "Weight"), weight), h("button", "Set"));
    body.append(why, h("div.bar", move, spare, tunnels, h("button.danger", { onclick: sure(deregister, "The target is not deregistered.") }, "Deregister…")), form);
    let shownWeight = t.weight;
    updates.push((it) => {
      const is = shown(it), tone = is === "ejected" ? "bad" : TONES[is];
      if (is !== was) { was = is; sub.replaceChildren(badge(tone, is, "")); mark(why, "data-tone", tone); }
      text(sub.querySelector(".badge").lastElementChild, stateWords(it));
      const words = [isEjected(it) && `Ejected: ${it.eject_reason || "too many requests failed"}.`, it.description].filter(Boolean).join(" ");
      why.hidden = !words;
      text(why, words);
      text(move, leaves(it) ? "Put back" : "Drain");
      mark(spare, "aria-pressed", String(Boolean(it.standby)));
      text(tunnels, `Close ${plural(it.tunnels || 0, "tunnel")}…`);
      tunnels.hidden = !it.tunnels;
      form.hidden = spare.hidden = leaves(it);
      if (it.weight !== shownWeight) { shownWeight = it.weight; if (document.activeElement !== weight) weight.value = it.weight; }
    });
  },
  group(g, sub, body, updates) {
    const flag = badge("bad", "warning", "fails open: no target is healthy, so all get requests");
    sub.append(flag);
    updates.push((it) => { flag.hidden = !it.fails_open; });
    body.append(h("div.bar", h("a.button", { href: `#targets?q=${encodeURIComponent(term("group", g.id))}` }, "Targets"), h("a.button", { href: `#tunnels?q=${encodeURIComponent(term("group", g.id))}` }, "Tunnels"), h("button", { onclick: () => register(g.id) }, "Register a target…")));
  },
  tunnel(u, sub, body) {
    body.append(h("div.bar", h("button.danger", { onclick: () => closeTunnels([u], "").catch(failed("The tunnel is not closed.")) }, "Close tunnel…"),
      h("a.button", { href: `#tunnels?q=${encodeURIComponent(`${term("group", u.group)} ${term("target", u.target)}`)}` }, "Others of this target")));
  },
};
on($("panel").querySelector(".close"), "click", () => panel.close());
