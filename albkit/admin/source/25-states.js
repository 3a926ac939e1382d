// The states of targets and certificates.
// An open tunnel is an outstanding request of its target (docs/tunnels.md). The page counts it as a tunnel only.
const inFlight = (i) => Math.max(0, (i.outstanding || 0) - (i.tunnels || 0));
const TONES = { healthy: "good", unhealthy: "bad", initial: "warn", unavailable: "", draining: "calm", drained: "calm", unused: "" };
const SEVERITY = ["unhealthy", "ejected", "initial", "draining", "drained", "unavailable", "healthy", "unused"];
const isEjected = (t) => t.ejected_until != null && t.ejected_until > now();
const shown = (t) => (isEjected(t) ? "ejected" : t.state);
const isTrouble = (t) => t.state === "unhealthy" || isEjected(t);
const leaves = (t) => t.state === "draining" || t.state === "drained";
function stateWords(t) {
  if (isEjected(t)) return `ejected ${span(t.ejected_until - now())}`;
  if (t.state === "draining" && t.draining_until != null) return `draining ${span(t.draining_until - now())}`;
  return t.state;
}
function checkWords(t) {
  const check = t.last_check;
  if (!check) return "";
  const what = [check.status, check.passed ? null : check.reason].filter((part) => part != null && part !== "").join(", ");
  return `check ${check.passed ? "passed" : "failed"} ${ago(check.at)} in ${millis(check.seconds)}${what ? `: ${what}` : ""}`;
}
function reasonWords(t) {
  if (isEjected(t)) return t.eject_reason || "too many requests failed";
  return t.description || (t.state !== "healthy" && t.reason) || checkWords(t);
}
const daysLeft = (c) => (c.not_after - now()) / 86400;
function certificateTone(c) { const days = daysLeft(c); return days < 7 ? "bad" : days < 30 ? "warn" : "good"; }
function certificateWords(c) {
  const days = Math.floor(daysLeft(c));
  return days < 0 ? "expired" : days === 0 ? "expires today" : `${plural(days, "day")} left`;
}
