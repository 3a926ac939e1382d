// The state: items by section and id, and the rates computed from their counters.
const MINUTES5 = 300;
const SECTIONS = ["listeners", "rules", "groups", "targets", "tunnels", "certificates"];
const data = { lb: {}, failures: [], events: [] };
for (const name of SECTIONS) data[name] = new Map();

// Rates per second of one item, by tick. Ticks that were not set are 0, so that only items that change cost work.
class Track {
  constructor(size) { this.values = new Float32Array(size); this.at = -1; }
  set(tick, value) {
    const size = this.values.length;
    for (let t = Math.max(this.at + 1, tick - size + 1); t < tick; t++) this.values[t % size] = 0;
    this.values[tick % size] = value;
    this.at = tick;
  }
  get(tick) { return tick < 0 || tick > this.at || tick <= this.at - this.values.length ? 0 : this.values[tick % this.values.length]; }
  mean(tick, ticks) {
    let all = 0;
    for (let t = tick - ticks + 1; t <= tick; t++) all += this.get(t);
    return all / ticks;
  }
}

// The counters that become rates. Targets and rules keep fewer ticks, because there may be thousands.
const COUNTED = {
  listeners: { size: MINUTES5, of: { rate: (i) => i.requests, bytes: (i) => i.processed_bytes, bad: (i) => i.responses?.["5xx"] } },
  rules: { size: 120, of: { rate: (i) => i.hits } },
  groups: { size: MINUTES5, of: { rate: (i) => i.requests, bytes: (i) => i.processed_bytes, bad: (i) => (i.responses?.["5xx"] || 0) + (i.connection_errors || 0) } },
  targets: { size: 120, of: { rate: (i) => i.requests, bytes: (i) => i.processed_bytes, bad: (i) => i.errors } },
};
// The plots of the whole load balancer. NaN is a tick without data.
const CLASSES = ["2xx", "3xx", "4xx", "5xx"];
const series = {};
for (const name of [...CLASSES, "requests", "t4", "t5", "e4", "e5", "bytes", "p50", "p90", "p99", "tunnels", "connections"]) series[name] = new Float32Array(MINUTES5).fill(NaN);
let tick = -1, since = 0, epoch = 0, lastTime = 0, heardAt = 0, totals = null, settling = false;
const now = () => lastTime + (performance.now() - heardAt) / 1000;
const plain = (v) => v !== null && typeof v === "object" && !Array.isArray(v);

function merge(item, fields) {
  for (const [key, value] of Object.entries(fields)) {
    if (plain(value) && plain(item[key])) Object.assign(item[key], value);
    else item[key] = value;
  }
}

function measure(section, item, seconds) {
  const counted = COUNTED[section];
  if (!counted) return;
  const own = item.$ || (item.$ = { last: {} });
  for (const [name, of] of Object.entries(counted.of)) {
    const value = of(item) || 0;
    const more = name in own.last ? value - own.last[name] : 0;
    own.last[name] = value;
    if (!(more > 0 && seconds > 0)) continue;
    const track = own[name] || (own[name] = new Track(counted.size));
    for (let t = since; t <= tick; t++) track.set(t, more / seconds);
  }
}

// A tick is a second of the load balancer's clock. A late delta covers all ticks since the one before. Ticks without a connection have
// no data.
function nextTick(time) {
  if (tick < 0) epoch = time;
  const next = Math.max(tick + 1, Math.round(time - epoch));
  since = Math.max(tick + 1, next - MINUTES5 + 1);
  for (const values of Object.values(series)) for (let t = since; t <= next; t++) values[t % MINUTES5] = NaN;
  tick = next;
}

function wholeRates(seconds) {
  const counters = data.lb.counters || {};
  const fresh = { requests: 0, t4: counters.HTTPCode_Target_4XX_Count, t5: counters.HTTPCode_Target_5XX_Count, e4: counters.HTTPCode_ELB_4XX_Count,
    e5: counters.HTTPCode_ELB_5XX_Count, bytes: counters.ProcessedBytes };
  for (const name of CLASSES) fresh[name] = 0;
  for (const one of data.listeners.values()) {
    fresh.requests += one.requests || 0;
    for (const name of CLASSES) fresh[name] += one.responses?.[name] || 0;
  }
  const put = (name, value) => { for (let t = since; t <= tick; t++) series[name][t % MINUTES5] = value; };
  for (const [name, value] of Object.entries(fresh)) {
    if (seconds > 0) put(name, Math.max(0, (value || 0) - (totals[name] || 0)) / seconds);
  }
  totals = fresh;
  const { p50, p90, p99 } = data.lb.latency || {};
  for (const [name, value] of Object.entries({ p50, p90, p99 })) put(name, value ?? NaN);
  put("tunnels", counters.ActiveTunnelCount ?? data.tunnels.size);
  put("connections", counters.ActiveConnectionCount ?? NaN);
}

function forget() {
  for (const values of Object.values(series)) values.fill(NaN);
  for (const name of SECTIONS) data[name].clear();
  data.failures = [];
  data.events = [];
  totals = null;
  tick = -1;
}

function takeState(state) {
  if (data.lb.started_at !== undefined && data.lb.started_at !== state.load_balancer.started_at) forget();
  nextTick(state.time);
  since = tick;
  data.lb = state.load_balancer;
  for (const name of SECTIONS) {
    const old = data[name];
    const fresh = new Map();
    for (const [id, fields] of Object.entries(state[name] || {})) {
      // Keep the object, which holds the rates, over a reconnection.
      const item = old.get(id);
      if (item) { item.$find = null; Object.assign(item, fields); }
      fresh.set(id, item || fields);
      measure(name, item || fields, 0);
    }
    data[name] = fresh;
  }
  data.failures = newestFirst([...(state.failures || [])]);
  data.events = newestFirst([...(state.events || [])]);
  wholeRates(0);
  settling = true;
  lastTime = state.time;
  heardAt = performance.now();
}

function takeDelta(delta) {
  // The counters of a whole state may be up to a second older than its time, so the first difference from them is not a rate.
  const seconds = settling ? 0 : delta.time - lastTime;
  settling = false;
  nextTick(delta.time);
  const { load_balancer: own, ...sections } = delta.set || {};
  if (own) merge(data.lb, own);
  for (const [name, items] of Object.entries(sections)) {
    const known = data[name];
    if (!known) continue;
    for (const [id, fields] of Object.entries(items)) {
      const item = known.get(id);
      if (item) { item.$find = null; merge(item, fields); }
      else known.set(id, fields);
      measure(name, item || fields, seconds);
    }
  }
  for (const [name, ids] of Object.entries(delta.gone || {})) for (const id of ids) data[name]?.delete(id);
  if (delta.failures?.length) data.failures = newestFirst([...delta.failures, ...data.failures]);
  if (delta.events?.length) {
    data.events = newestFirst([...delta.events, ...data.events]);
    sayEvents(delta.events);
  }
  wholeRates(seconds);
  lastTime = delta.time;
  heardAt = performance.now();
}
const newestFirst = (items) => items.sort((a, b) => b.id - a.id).slice(0, 200);

const rate = (item, name = "rate", ticks = 5) => item.$?.[name]?.mean(tick, ticks) || 0;
// Errors per request in the last 10 seconds, the period of the latencies.
function errors(item) {
  const bad = rate(item, "bad", 10);
  const all = Math.max(rate(item, "rate", 10), bad);
  return all > 0 ? bad / all : null;
}
function recent(name, ticks = 10) {
  let all = 0, known = 0;
  for (let t = Math.max(0, tick - ticks + 1); t <= tick; t++) {
    const value = series[name][t % MINUTES5];
    if (!Number.isNaN(value)) { all += value; known++; }
  }
  return known ? all / known : NaN;
}
