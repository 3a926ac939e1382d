// The lines above the tables, and closing selected tunnels.
function targetsNote(items, all) {
  text($("targets-note"), items.length === all.length ? plural(all.length, "target") : `${count(items.length)} of ${plural(all.length, "target")}`);
  const words = filterOf("targets").value;
  const group = parse(words).find((one) => one.field === "group")?.value;
  const choice = $("group-choice"), names = [...data.groups.keys()].join("\n");
  if (choice.dataset.names !== names) {
    choice.dataset.names = names;
    choice.replaceChildren(h("option", { value: "" }, "All groups"), ...[...data.groups.keys()].map((name) => h("option", { value: name }, name)));
  }
  choice.value = data.groups.has(group) ? group : "";
  for (const chip of $("target-chips").children) mark(chip, "aria-pressed", words.includes(chip.value));
  const g = data.groups.get(group), card = $("group-card");
  card.hidden = !g;
  if (!g) return;
  card.dataset.level = g.unhealthy || g.fails_open ? "bad" : "good";
  const facts = [`${g.healthy} of ${g.targets} healthy`, g.fails_open && "fails open", g.protocol_version || g.protocol, g.algorithm, g.stickiness && `sticky: ${g.stickiness}`, g.health_check && `health check: ${g.health_check}`,
    `drains for up to ${span(g.deregistration_delay || 0)}`].filter(Boolean).join(" · ");
  if (!card.firstChild) card.append(h("button.name", { onclick: (event) => panel.open("group", card.dataset.group, event.target) }), h("span.soft"));
  card.dataset.group = g.id;
  text(card.firstChild, g.id);
  text(card.lastChild, facts);
}
function tunnelsNote(items, all) {
  tunnelGrid.passingItems = items;
  for (const id of chosen) if (!data.tunnels.has(id)) chosen.delete(id);
  text($("tunnels-note"), `${items.length === all.length ? plural(all.length, "tunnel") : `${count(items.length)} of ${plural(all.length, "tunnel")}`}${chosen.size ? `; ${count(chosen.size)} selected` : ""}`);
  const button = $("close-selected");
  button.hidden = !chosen.size;
  text(button, `Close ${count(chosen.size)} selected`);
  $("close-all").disabled = !all.length;
  const box = $("choose-all");
  box.checked = chosen.size > 0 && chosen.size >= items.length;
  box.indeterminate = chosen.size > 0 && !box.checked;
}
function closeChosen() {
  const all = [...chosen].map((id) => data.tunnels.get(id)).filter(Boolean);
  closeTunnels(all, "These are the selected tunnels", all.length === data.tunnels.size ? { all: true } : null).catch(failed("Not all tunnels are closed."));
}
