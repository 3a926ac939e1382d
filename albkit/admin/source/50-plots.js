// Plots and sparklines.
// Colors of the style sheet, resolved for the current theme.
let colors = {};
function color(name) {
  if (!colors[name]) {
    const probe = $("announce");
    probe.style.color = `var(--${name})`;
    colors[name] = getComputedStyle(probe).color;
    probe.style.color = "";
  }
  return colors[name];
}
function pencil(canvas) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, width, height];
}
// Draws the requests per second of one item, and its errors per second in red.
function spark(canvas, item, ticks) {
  const [pen, width, height] = pencil(canvas);
  if (!width) return;
  ticks = Math.min(ticks, Math.max(30, tick + 1));
  const own = item.$ || {}, step = width / (ticks - 1), first = tick - ticks + 1;
  let top = 0;
  for (let t = first; t <= tick; t++) top = Math.max(top, own.rate?.get(t) || 0);
  pen.fillStyle = color("line");
  pen.fillRect(0, height - 1, width, 1);
  if (!top) return;
  for (const [name, fill] of [["rate", "c2"], ["bad", "c5"]]) {
    const track = own[name];
    if (!track || track.at < first) continue;
    pen.beginPath();
    pen.moveTo(0, height);
    for (let k = 0; k < ticks; k++) pen.lineTo(k * step, height - Math.min(1, track.get(first + k) / top) * (height - 2));
    pen.lineTo(width, height);
    pen.globalAlpha = name === "rate" ? 0.28 : 0.9;
    pen.fillStyle = color(fill);
    pen.fill();
    pen.globalAlpha = 1;
    if (name === "rate") { pen.strokeStyle = color(fill); pen.lineWidth = 1.25; pen.stroke(); }
  }
}
function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10]) if (value <= step * power * 1.0001) return step * power;
}

let cross = null; // The tick that the pointer is at: the same in all plots.
// Plots start with one minute, so that they fill quickly, and grow to five.
const shownTicks = () => Math.min(MINUTES5, 60 * Math.ceil((tick + 1) / 60));
class Plot {
  constructor(parent, { title, unit, lines, stacked, format, axis }) {
    Object.assign(this, { title, unit, lines, stacked, format, axis: axis || format });
    this.canvas = h("canvas", { role: "img", "aria-label": title });
    this.time = h("span.soft");
    this.values = lines.map(() => h("b", DASH));
    const legend = h("div.legend", ...lines.map((line, n) => {
      const swatch = h("i.swatch");
      swatch.style.background = `var(--${line.color})`;
      return h("span", swatch, line.label, this.values[n]);
    }));
    this.body = h("tbody");
    this.details = h("details.values", { ontoggle: () => this.list() }, h("summary", "Show as table"),
      h("table", h("caption.sr", `${title}, the last 5 minutes`), h("thead", h("tr", h("th", { scope: "col" }, "Time"), ...lines.map((line) => h("th", { scope: "col" }, line.label)))), this.body));
    this.figure = h("figure.card", h("figcaption", h("h3", title), legend), this.canvas, this.details);
    on(this.canvas, "pointermove", (event) => {
      const at = (event.offsetX - this.left) / (this.canvas.clientWidth - this.left);
      cross = Math.round(tick - (1 - Math.min(1, Math.max(0, at))) * (shownTicks() - 1));
      soon();
    });
    on(this.canvas, "pointerleave", () => { cross = null; soon(); });
    this.left = 50;
    this.said = -99;
    parent.append(this.figure);
  }
  value(line, t) { return t < 0 || t > tick || t <= tick - MINUTES5 ? NaN : series[line.of][t % MINUTES5]; }
  draw() {
    const [pen, width, height] = pencil(this.canvas);
    if (!width) return;
    const shown = shownTicks(), first = tick - shown + 1, { left } = this, bottom = height - 18, high = bottom - 6;
    let top = 0;
    for (let t = Math.max(0, first); t <= tick; t++) {
      let all = 0;
      for (const line of this.lines) { const v = this.value(line, t) || 0; all = this.stacked ? all + v : Math.max(all, v); }
      top = Math.max(top, all);
    }
    top = niceTop(top);
    const x = (t) => left + ((t - first) / (shown - 1)) * (width - left - 1);
    const y = (v) => bottom - (v / top) * high;
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let k = 0; k <= 2; k++) {
      const at = Math.round(y((top * k) / 2)) + 0.5;
      pen.strokeStyle = color("line");
      pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(left, at); pen.lineTo(width, at); pen.stroke();
      pen.fillStyle = color("soft");
      pen.textAlign = "right";
      pen.fillText(this.axis((top * k) / 2), left - 6, at);
    }
    const step = shown > 120 ? 60 : shown / 4;
    for (let back = 0; back < shown; back += step) {
      pen.textAlign = back ? "center" : "right";
      pen.fillText(!back ? "now" : shown > 120 ? `−${back / 60} min` : `−${back} s`, x(tick - back), height - 6);
    }
    if (this.stacked) this.areas(pen, x, y, first);
    else this.strokes(pen, x, y, first);
    if (cross !== null && cross >= first && cross <= tick) {
      pen.strokeStyle = color("soft");
      pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(Math.round(x(cross)) + 0.5, 0); pen.lineTo(Math.round(x(cross)) + 0.5, bottom); pen.stroke();
    }
    const t = cross ?? tick;
    this.lines.forEach((line, n) => text(this.values[n], this.format(this.value(line, t))));
    text(this.figure.querySelector("h3"), cross === null ? this.title : `${this.title} at ${dayTime.format((now() - (tick - cross)) * 1000)}`);
    if (tick - this.said >= 15) this.tell();
    if (this.details.open && tick % 5 === 0) this.list();
  }
  areas(pen, x, y, first) {
    const base = new Float32Array(MINUTES5);
    for (const line of this.lines) {
      pen.fillStyle = color(line.color);
      pen.beginPath();
      let drawn = false;
      for (let k = 0; first + k <= tick; k++) {
        const v = this.value(line, first + k);
        if (!(v > 0)) continue;
        // One column per second, so that a gap stays visible.
        const from = x(first + k - 0.5), to = x(first + k + 0.5);
        pen.rect(from, y(base[k] + v), to - from + 0.35, y(base[k]) - y(base[k] + v));
        base[k] += v;
        drawn = true;
      }
      if (drawn) pen.fill();
    }
  }
  strokes(pen, x, y, first) {
    for (const line of this.lines) {
      pen.strokeStyle = color(line.color);
      pen.lineWidth = 1.6;
      pen.lineJoin = "round";
      pen.beginPath();
      let down = false, start = 0, end = 0;
      const close = () => { if (line.fill && down) { const shape = new Path2D(this.path); shape.lineTo(end, y(0)); shape.lineTo(start, y(0)); pen.globalAlpha = 0.16; pen.fillStyle = color(line.color); pen.fill(shape); pen.globalAlpha = 1; } };
      this.path = new Path2D();
      for (let k = 0; first + k <= tick; k++) {
        const v = this.value(line, first + k);
        if (Number.isNaN(v)) { close(); pen.stroke(this.path); this.path = new Path2D(); down = false; continue; }
        end = x(first + k);
        if (down) this.path.lineTo(end, y(v));
        else { this.path.moveTo(end, y(v)); start = end; down = true; }
      }
      close();
      pen.stroke(this.path);
    }
  }
  // The text alternative of the plot.
  tell() {
    this.said = tick;
    const words = this.lines.map((line) => {
      let low = Infinity, top = -Infinity;
      for (let t = Math.max(0, tick - MINUTES5 + 1); t <= tick; t++) { const v = this.value(line, t); if (!Number.isNaN(v)) { low = Math.min(low, v); top = Math.max(top, v); } }
      return top < low ? `${line.label}: nothing yet` : `${line.label}: now ${this.format(this.value(line, tick))}, from ${this.format(low)} to ${this.format(top)}`;
    });
    mark(this.canvas, "aria-label", `${this.title}, the last 5 minutes. ${words.join("; ")}.`);
  }
  list() {
    if (!this.details.open) return;
    const rows = [];
    for (let t = tick; t >= Math.max(0, tick - MINUTES5 + 1); t -= 15) {
      rows.push(h("tr", h("th", { scope: "row" }, dayTime.format((now() - (tick - t)) * 1000)), ...this.lines.map((line) => h("td", this.format(this.value(line, t))))));
    }
    this.body.replaceChildren(...rows);
  }
}
