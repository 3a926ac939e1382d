// The tables of the views.
const views = [...document.querySelectorAll("section[data-view]")];
const filterOf = (name) => document.querySelector(`[data-view="${name}"] input[type="search"]`);
const grid = (id, kind, section, options) => new Grid($(id), { kind, items: () => [...data[section].values()], get: (one) => data[section].get(one), ...options });
const overviewGrid = grid("overview-groups", "group", "groups", { label: "Busiest groups", columns: groupColumns(), sort: ["rate", -1], limit: 8, empty: "There are no target groups.", ...GROUP_CARD });
const groupGrid = grid("groups", "group", "groups", { label: "Target groups", columns: groupColumns(), sort: ["name", 1], filter: filterOf("groups"),
  find: (g) => `${g.id} ${g.algorithm} ${g.stickiness} ${g.protocol}`, empty: "There are no target groups.", ...GROUP_CARD });
const targetGrid = grid("targets", "target", "targets", { label: "Targets", columns: targetColumns, sort: ["state", 1], filter: filterOf("targets"),
  find: (t) => `${t.address} ${t.group} ${t.state} ${t.reason} ${t.description} ${t.eject_reason}`, empty: "There are no targets.", after: targetsNote,
  cardAreas: ["name name name act", "state state grp grp", "rate err p99 tun", "why why why why"], cardColumns: "1.6fr 1fr 1.2fr 1fr", cardHeight: 146 });
const tunnelGrid = grid("tunnels", "tunnel", "tunnels", { label: "Tunnels", columns: tunnelColumns, sort: ["age", -1], filter: filterOf("tunnels"),
  find: (u) => `${u.client} ${u.target} ${u.group} ${u.protocol} ${u.id}`, empty: "No tunnels are open.", after: tunnelsNote,
  cardAreas: ["sel name name name act", "sel tgt tgt grp grp", "sel age idl inn out"], cardColumns: "18px 1.4fr 1fr 1fr 1fr", cardHeight: 128 });
const listenerGrid = grid("listeners", "listener", "listeners", { label: "Listeners", columns: listenerColumns, sort: ["name", 1], empty: "No listener is open.",
  cardAreas: ["name name name", "url url url", "rate con byt", "mix mix mix"], cardColumns: "1.4fr 1fr 1fr", cardHeight: 126 });
const ruleGrid = grid("rules", "rule", "rules", { label: "Rules", columns: ruleColumns, sort: ["listener", 1], filter: filterOf("routing"), rowHeight: 44, empty: "There are no rules.",
  find: (r) => `${r.listener} ${r.priority || "default"} ${(r.conditions || []).join(" ")} ${r.action}`, cardAreas: ["name name name", "cnd cnd cnd", "then then then", "lst rate hit"], cardColumns: "1fr 1.4fr 1fr", cardHeight: 164 });
const certificateGrid = grid("certificates", "certificate", "certificates", { label: "Certificates", columns: certificateColumns, sort: ["expiry", 1], empty: "There are no certificates.",
  cardAreas: ["name name", "exp exp", "lst key"], cardColumns: "1fr 1fr", cardHeight: 104 });
