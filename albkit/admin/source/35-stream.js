// The stream of events: reading, reconnecting, and the notice about both.
const link = { is: "connecting", why: "", until: 0, tries: 0, heard: 0, abort: null, wake: null, parked: false };
async function follow() {
  for (;;) {
    link.abort = new AbortController();
    setLink("connecting");
    try {
      const answer = await fetch("api/stream", { headers: headers({ Accept: "text/event-stream" }), cache: "no-store", signal: link.abort.signal });
      if (!answer.ok) throw await refusal(answer);
      link.heard = performance.now();
      await listen(answer.body.getReader());
      link.why = link.why || "The stream ended.";
    } catch (error) {
      if (error.status === 401) { await askToken(token !== null); continue; }
      link.why = link.why || (error instanceof Refused ? error.message : "The load balancer cannot be reached.");
    }
    const pause = Math.min(15, 2 ** link.tries++) * (0.8 + 0.4 * Math.random());
    link.until = performance.now() + pause * 1000;
    setLink("lost");
    await new Promise((wake) => { link.wake = wake; if (!link.parked) setTimeout(wake, pause * 1000); });
    link.why = "";
  }
}

// Server-sent events (HTML Standard, section 9.2.5) with fetch(): an EventSource cannot send the token.
async function listen(reader) {
  const decoder = new TextDecoder();
  let parts = "", from = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parts += decoder.decode(value, { stream: true }).replaceAll("\r", "");
    let start = 0, end;
    while ((end = parts.indexOf("\n\n", Math.max(from, start))) >= 0) {
      hear(parts.slice(start, end));
      start = end + 2;
    }
    parts = parts.slice(start);
    // A state of several megabytes arrives in many parts. Do not search its beginning again for each.
    from = Math.max(0, parts.length - 1);
  }
}
function hear(block) {
  let kind = "message";
  const lines = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) kind = line.slice(6).trim();
    else if (line.startsWith("data:")) lines.push(line.slice(5).trimStart());
  }
  link.heard = performance.now();
  if (kind === "bye") { link.why = "The load balancer has stopped."; return; }
  if (kind !== "state" && kind !== "delta") return;
  const body = JSON.parse(lines.join("\n"));
  if (kind === "state") takeState(body);
  else takeDelta(body);
  link.tries = 0;
  setLink("live");
  soon();
}
function setLink(is) {
  if (link.is === is) return drawLink();
  if (is === "lost" && link.is !== "lost" && link.tries <= 1) say(`Connection lost. ${link.why}`);
  if (is === "live" && link.was === "lost") say("Connected again.");
  if (is === "lost" || is === "live") link.was = is;
  link.is = is;
  drawLink();
}
function drawLink() {
  const silent = (performance.now() - link.heard) / 1000;
  const left = Math.max(0, Math.ceil((link.until - performance.now()) / 1000));
  const stale = link.is === "live" && silent > 3.5;
  const words = { live: paused ? "Paused" : stale ? `No data for ${Math.floor(silent)} s` : "Live", connecting: "Connecting", lost: left ? `Retrying in ${left} s` : "Disconnected" }[link.is];
  const box = $("link");
  mark(box, "data-is", link.is === "live" && paused ? "paused" : stale ? "stale" : link.is);
  text(box.firstElementChild, words);
  const since = heardAt ? ` The data is ${span((performance.now() - heardAt) / 1000)} old.` : "";
  const draining = data.lb.state === "draining";
  const notice = link.is === "lost" ? `Disconnected. ${link.why}${since}` : stale ? `The load balancer sends no updates.${since}`
    : draining ? "The load balancer is draining: it accepts no new connections, and stops when the open ones have ended." : "";
  const bar = $("notice");
  bar.hidden = !notice;
  bar.classList.toggle("bad", link.is === "lost");
  text($("notice-text"), notice);
  $("reconnect").hidden = draining && link.is === "live" && !stale;
  $("main").toggleAttribute("data-stale", link.is === "lost" || stale);
  if (stale && silent > 12) { link.why = "The load balancer sent nothing for 12 s."; link.abort.abort(); }
}
function reconnect() {
  link.parked = false;
  if (link.is === "lost") link.wake?.();
  else link.abort?.abort();
}
// A page that is hidden for 5 minutes disconnects, so that it costs the load balancer nothing.
let park = 0;
on(document, "visibilitychange", () => {
  clearTimeout(park);
  if (document.hidden) park = setTimeout(() => { link.parked = true; link.why = "This page was hidden for 5 minutes."; link.abort?.abort(); }, 300_000);
  else { if (link.parked) reconnect(); soon(); }
});
on(window, "online", reconnect);
