// Formats of numbers, sizes and times.
const whole = new Intl.NumberFormat("en");
const DASH = "–";
const count = (n) => whole.format(n || 0);
function short(n) {
  if (n == null || Number.isNaN(n)) return DASH;
  if (n === 0) return "0";
  if (n < 9.95) return n < 0.05 ? "<0.1" : n.toFixed(1);
  if (n < 9999.5) return count(Math.round(n));
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (n >= size) return (n / size).toFixed(n / size < 99.95 ? 1 : 0) + letter;
}
function bytes(n) {
  if (n == null || Number.isNaN(n)) return DASH;
  if (n < 1000) return `${Math.round(n)}\u00a0B`;
  for (const [size, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) if (n >= size) return `${(n / size).toFixed(n / size < 99.95 ? 1 : 0)}\u00a0${unit}`;
}
function millis(s) {
  if (s == null || Number.isNaN(s)) return DASH;
  if (s >= 10) return `${s.toFixed(0)}\u00a0s`;
  if (s >= 1) return `${s.toFixed(2)}\u00a0s`;
  const ms = s * 1000;
  return ms >= 99.5 ? `${ms.toFixed(0)}\u00a0ms` : ms >= 9.95 ? `${ms.toFixed(1)}\u00a0ms` : `${ms.toFixed(2)}\u00a0ms`;
}
function span(s) {
  s = Math.max(0, Math.round(s));
  if (s < 100) return `${s}\u00a0s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 ? ` ${s % 60}\u00a0s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
const ago = (t) => (t == null ? "never" : now() - t < 1.5 ? "now" : `${span(now() - t)} ago`);
const percent = (share) => (share == null || Number.isNaN(share) ? DASH : share === 0 ? "0\u00a0%" : share < 0.0005 ? "<0.1\u00a0%" : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)}\u00a0%`);
const dayTime = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dateTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const dateOnly = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const when = (t) => (t == null ? "never" : dateTime.format(t * 1000));
const plural = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
const sum = (o) => Object.values(o || {}).reduce((all, n) => all + n, 0);
