// Calls of the admin API.
let token = store("sessionStorage", "albkit-token");
class Refused extends Error {
  constructor(status, words, faults = []) { super(words); this.status = status; this.faults = faults; }
}
const LOST = "The load balancer cannot be reached. The action may or may not have taken effect.";
const headers = (more) => (token ? { ...more, Authorization: `Bearer ${token}` } : more);
async function refusal(answer) {
  let body = null;
  try { body = await answer.json(); } catch { /* no words of its own */ }
  const words = { 401: "The admin API requires a token.", 403: "The admin API refused the request.", 404: "It no longer exists.",
    503: "The admin API has no room for another viewer." }[answer.status];
  return new Refused(answer.status, body?.error || words || `The admin API answered ${answer.status}.`, body?.faults || []);
}
async function call(method, path, body) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { method, cache: "no-store", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body || {}) });
    } catch { throw new Refused(0, LOST); }
    if (answer.status === 401) { await askToken(token !== null); continue; }
    if (!answer.ok) throw await refusal(answer);
    return answer.status === 204 ? null : answer.json().catch(() => null);
  }
}
