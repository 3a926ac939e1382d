// Details of one thing, beside the tables.
const fact = (label, of) => [label, of];
const latencies = (i) => (i.latency ? `p50 ${millis(i.latency.p50)}, p90 ${millis(i.latency.p90)}, p99 ${millis(i.latency.p99)} (${count(i.latency.count)} in 10 s)` : DASH);
const responses = (i) => CLASSES.map((name) => `${name} ${count(i.responses?.[name])}`).join(", ");
const FACTS = {
  target: [fact("Group", (t) => t.group), fact("State", stateWords), fact("Reason", (t) => t.reason || DASH), fact("Last check", (t) => checkWords(t) || "none yet"), fact("Requests", (t) => `${count(t.requests)} (${short(rate(t))}/s)`),
    fact("In flight", (t) => `${count(t.outstanding)}${t.max_concurrency ? ` of at most ${t.max_concurrency}` : ""}`), fact("Errors", (t) => `${count(t.errors)} (${percent(errors(t))} now)`), fact("Connection errors", (t) => count(t.connection_errors)),
    fact("Retries", (t) => count(t.retries)), fact("Responses", responses), fact("Latency", latencies), fact("Tunnels", (t) => count(t.tunnels)), fact("Bytes", (t) => bytes(t.processed_bytes)), fact("Last active", (t) => ago(t.last_active_at))],
  group: [fact("Healthy", (g) => `${g.healthy} of ${g.targets}${g.fails_open ? "; fails open" : ""}`), fact("Protocol", (g) => [g.protocol, g.protocol_version].filter(Boolean).join(", ")), fact("Algorithm", (g) => g.algorithm), fact("Stickiness", (g) => g.stickiness || "none"),
    fact("Health check", (g) => g.health_check || "none"), fact("Deregistration delay", (g) => span(g.deregistration_delay || 0)), fact("Requests", (g) => `${count(g.requests)} (${short(rate(g))}/s)`), fact("In flight", (g) => count(g.outstanding)),
    fact("Errors now", (g) => percent(errors(g))), fact("Connection errors", (g) => count(g.connection_errors)), fact("Retries", (g) => count(g.retries)), fact("Responses", responses), fact("Latency", latencies), fact("Tunnels", (g) => count(g.tunnels)),
    fact("Bytes", (g) => bytes(g.processed_bytes)), fact("Last active", (g) => ago(g.last_active_at))],
  tunnel: [fact("Number", (u) => u.id), fact("Client", (u) => u.client), fact("Group", (u) => u.group), fact("Target", (u) => u.target), fact("Protocol", (u) => u.protocol), fact("Opened", (u) => `${when(u.opened_at)}, ${span(now() - u.opened_at)} ago`),
    fact("Last byte", (u) => ago(u.last_active_at)), fact("From the client", (u) => bytes(u.bytes_in)), fact("To the client", (u) => bytes(u.bytes_out))],
  listener: [fact("Address", (l) => l.url || `${l.host}:${l.port}`), fact("Protocol", (l) => l.protocol), fact("Requests", (l) => `${count(l.requests)} (${short(rate(l))}/s)`), fact("Responses", responses), fact("Connections", (l) => count(l.active_connections)),
    fact("Bytes", (l) => bytes(l.processed_bytes)), fact("Rules", (l) => count(l.rules))],
  rule: [fact("Listener", (r) => r.listener), fact("Priority", (r) => (r.priority ? String(r.priority) : "default: no other rule matches")), fact("If", (r) => (r.conditions || []).join("\nand ") || "always"), fact("Then", (r) => r.action), fact("Hits", (r) => `${count(r.hits)} (${short(rate(r))}/s)`)],
  certificate: [fact("Names", (c) => (c.names || []).join(", ")), fact("Expires", (c) => `${when(c.not_after)}: ${certificateWords(c)}`), fact("Key", (c) => c.key_type), fact("Listener", (c) => c.listener), fact("File", (c) => c.id)],
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
    const updates = [], body = $("panel-body"), sub = $("panel-sub"), { kept: values } = this.facts(kind, updates), canvas = h("canvas", { "aria-hidden": "true" });
    sub.replaceChildren();
    body.replaceChildren();
    this[kind]?.(item, sub, body, updates);
    if (COUNTED[`${kind}s`]) { body.append(canvas); updates.push((it) => spark(canvas, it, COUNTED[`${kind}s`].size)); }
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
    for (const [label, of] of FACTS[kind]) {
      const value = h("dd");
      kept.append(h("dt", label), value);
      updates.push((item) => text(value, String(of(item) ?? DASH)));
    }
    return { kept };
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
      tunnels.disabled = !it.tunnels;
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
