// Draws the current view once per update, and nothing while the page is hidden.
let paused = false, drawing = 0;
function soon() {
  if (!drawing && !document.hidden) drawing = requestAnimationFrame(() => { drawing = 0; draw(); });
}
function paintAll() { for (const one of grids) one.paint(); }
function draw(anew) {
  if ((paused && !anew) || tick < 0) return;
  const started = performance.now(), found = problems();
  drawTop(found);
  drawLink();
  if (view === "overview") {
    drawProblems(found);
    drawTiles();
    for (const plot of plots) plot.draw();
    const { groups } = data;
    text($("o-groups"), groups.size > 8 ? "Busiest groups" : "Groups");
    drawFeed("overview-events", data.events, eventRow, 8, "Nothing has happened yet.");
    drawFeed("overview-failures", data.failures, failureRow, 6, "Nothing has failed yet.");
  } else if (view === "history") {
    const terms = filterOf("history").value.toLowerCase().split(/\s+/).filter(Boolean);
    drawFeed("events", data.events, eventRow, 200, "Nothing has happened yet.", terms);
    drawFeed("failures", data.failures, failureRow, 200, "Nothing has failed yet.", terms);
  } else if (view === "routing") {
    const choice = $("try").listener, names = [...data.listeners.values()].map((l) => l.name).filter(Boolean);
    if (choice.dataset.names !== names.join("\n")) {
      choice.dataset.names = names.join("\n");
      const was = choice.value;
      choice.replaceChildren(h("option", { value: "" }, "by the URL's port"), ...names.map((name) => h("option", { value: name }, name)));
      choice.value = names.includes(was) ? was : "";
    }
  }
  for (const one of grids) one.refresh(anew === true);
  panel.update?.();
  html.dataset.drew = (performance.now() - started).toFixed(1);
}
setInterval(() => { if (!document.hidden) drawLink(); }, 1000);
on(window, "scroll", () => { if (!document.hidden) paintAll(); }, { passive: true });
on(window, "resize", soon);
new ResizeObserver(() => html.style.setProperty("--sticky", `${$("top").offsetHeight}px`)).observe($("top"));
