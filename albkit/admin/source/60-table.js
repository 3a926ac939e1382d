// Tables of any length: the document contains only the rows in view.
// Sort keys that put "10.0.0.9" before "10.0.0.10". IPv4 addresses have a fast path for 10,000 tunnels.
const ADDRESS = /^(\d+)\.(\d+)\.(\d+)\.(\d+):(\d+)$/;
function natural(s) {
  const parts = ADDRESS.exec(s);
  if (parts) return String.fromCharCode(48, ...parts.slice(1));
  return String(s ?? "").toLowerCase().replace(/\d+/g, (digits) => String.fromCharCode(48 + digits.length) + digits);
}
const OVER = 6;
const grids = [];

// A column has: key; title; w, the minimum width; f, its share of free space; need, 1 if it is always shown, up to 9 if it is left out first;
// num, if it is a number aligned at the end; sort(item), or no if it is not sortable; text(item), or make(cell, row), which returns
// update(item); card, its area if the table is shown as cards.
class Grid {
  constructor(root, options) {
    Object.assign(this, { limit: Infinity, empty: "Nothing here.", cardHeight: 96, find: () => "" }, options);
    this.root = root;
    this.shownRows = new Map();
    this.pool = [];
    this.order = [];
    this.current = null;
    this.column = 0;
    this.height = 36;
    this.cards = null;
    this.sortedAt = 0;
    this.heads = this.columns.map((column, n) => {
      const head = h("th", { scope: "col", role: "columnheader", class: column.num && "num" });
      if (column.head) head.append(column.head());
      else if (column.no) head.append(column.title ? h("span", column.title) : h("span.sr", column.name));
      else head.append(h("button", { tabindex: -1, title: column.hint, onclick: () => this.sortBy(n) }, column.title));
      return head;
    });
    this.headRow = h("tr", { role: "row", "aria-rowindex": 1 }, ...this.heads);
    this.body = h("tbody", { role: "rowgroup" });
    this.none = h("p.none", { hidden: true }, this.empty);
    this.table = h("table.grid", { role: "table", "aria-label": this.label }, h("thead", { role: "rowgroup" }, this.headRow), this.body);
    root.append(this.table);
    this.table.querySelector("button")?.setAttribute("tabindex", 0);
    on(this.table, "keydown", (event) => this.key(event));
    on(this.table, "focusin", (event) => this.focused(event));
    new ResizeObserver(() => { this.layout(); this.paint(); }).observe(root);
    grids.push(this);
    this.sayOrder();
  }

  // Chooses as many columns as fit, or cards.
  layout() {
    const room = this.root.clientWidth;
    if (!room || room === this.room) return;
    this.room = room;
    const cards = room < 620;
    let kept = [...this.columns];
    if (cards) kept = kept.filter((column) => column.card);
    else {
      const needs = () => kept.reduce((all, column) => all + column.w + 16, 14);
      while (needs() > room) {
        const most = Math.max(...kept.map((column) => column.need || 1));
        if (most === 1) break;
        kept.splice(kept.findLastIndex((column) => (column.need || 1) === most), 1);
      }
    }
    this.kept = new Set(kept);
    this.cards = cards;
    this.height = cards ? this.cardHeight : this.rowHeight || 36;
    this.table.style.setProperty("--row", `${this.height}px`);
    this.table.style.setProperty("--cols", cards ? this.cardColumns || "1fr 1fr 1fr" : kept.map((column) => (column.f ? `minmax(${column.w}px, ${column.f}fr)` : `${column.w}px`)).join(" "));
    this.table.style.setProperty("--areas", cards ? this.cardAreas.map((line) => `"${line}"`).join(" ") : "none");
    mark(this.table, "data-cards", cards);
    this.columns.forEach((column, n) => { this.heads[n].hidden = !this.kept.has(column) || (cards && column.no && !column.head); });
    for (const row of [...this.shownRows.values(), ...this.pool]) this.fit(row);
  }
  fit(row) {
    this.columns.forEach((column, n) => {
      const cell = row.cells[n];
      cell.hidden = !this.kept.has(column);
      cell.style.gridArea = this.cards && column.card ? column.card : "";
      mark(cell, "data-label", this.cards && column.label !== false && !column.no && column.card && !["name", "act", "state"].includes(column.card) ? column.title : null);
      cell.classList.toggle("end", column.card === "act" || Boolean(column.end));
    });
  }

  sortBy(n) {
    const { key, num } = this.columns[n];
    this.sort = this.sort[0] === key ? [key, -this.sort[1]] : [key, num ? -1 : 1];
    this.sayOrder();
    this.refresh(true);
  }
  sayOrder() {
    this.columns.forEach((column, n) => mark(this.heads[n], "aria-sort", column.key === this.sort[0] ? (this.sort[1] > 0 ? "ascending" : "descending") : null));
  }
  // Rows keep their places while the pointer or the focus is in them, so that a click never hits the row that moved there.
  held() { return this.body.matches(":hover") || this.body.contains(document.activeElement); }

  sorted(items) {
    const column = this.columns.find((one) => one.key === this.sort[0]);
    const way = this.sort[1], keys = items.map(column.sort || column.text), places = items.map((_, n) => n);
    // Items without a value come last in both directions.
    const compare = column.num || column.numeric
      ? (a, b) => { const x = keys[a] ?? NaN, y = keys[b] ?? NaN; return x === y ? a - b : Number.isNaN(x) ? (Number.isNaN(y) ? a - b : 1) : Number.isNaN(y) ? -1 : way * (x - y); }
      : (a, b) => (keys[a] === keys[b] ? a - b : (keys[a] < keys[b] ? -1 : 1) * way);
    return places.sort(compare).map((place) => items[place]);
  }
  refresh(anew) {
    if (!this.visible()) return;
    const all = this.items();
    const terms = this.filter ? parse(this.filter.value) : [];
    const items = terms.length ? all.filter((item) => passes(item, terms, this.find)) : all;
    this.total = all.length;
    this.passing = items.length;
    const started = performance.now();
    if (anew || !items.length || !this.held()) {
      // Sort thousands of rows again only every 3 seconds.
      if (anew || items.length < 2000 || started - this.sortedAt > 2900 || items.length !== this.order.length) {
        this.order = this.sorted(items).slice(0, this.limit).map((item) => item.id);
        this.sortedAt = started;
        html.dataset.sorted = (performance.now() - started).toFixed(1);
      }
    } else if (items.length) {
      const had = new Set(this.order);
      for (const item of items) if (!had.has(item.id) && this.order.length < this.limit) this.order.push(item.id);
    }
    this.none.hidden = this.order.length > 0;
    if (!this.order.length && !this.none.isConnected) this.table.after(this.none);
    else if (this.order.length && this.none.isConnected) this.none.remove();
    text(this.none, all.length ? "Nothing matches the filter." : this.empty);
    this.body.style.height = `${this.order.length * this.height}px`;
    mark(this.table, "aria-rowcount", this.order.length + 1);
    this.paint();
    this.after?.(items, all);
  }
  visible() { return !this.root.closest("section").hidden; }

  paint() {
    if (!this.visible()) return;
    if (this.cards === null) this.layout();
    if (this.cards === null) return;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.height) - OVER);
    const last = Math.min(this.order.length, Math.ceil((innerHeight - top) / this.height) + OVER);
    const wanted = this.order.slice(first, Math.max(first, last));
    const keep = new Set(wanted);
    for (const [id, row] of this.shownRows) {
      if (keep.has(id) || row.element.contains(document.activeElement)) continue;
      this.shownRows.delete(id);
      row.element.remove();
      this.pool.push(row);
    }
    if (!this.shownRows.has(this.current) || !keep.has(this.current)) {
      if (!this.body.contains(document.activeElement)) this.current = this.order[Math.min(this.order.length - 1, Math.max(0, Math.ceil((stickyHeight() - top) / this.height)))] ?? null;
    }
    let next = this.body.firstElementChild;
    wanted.forEach((id, n) => {
      let row = this.shownRows.get(id);
      if (!row) {
        row = this.pool.pop() || this.row();
        this.shownRows.set(id, row);
      }
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
      this.fill(row, id, first + n);
    });
    if (this.pool.length > 60) this.pool.length = 60;
  }
  row() {
    const element = h("tr", { role: "row" });
    const row = { element, item: null, cells: [], updates: [], place: -1 };
    for (const column of this.columns) {
      const cell = h("td", { role: "cell", class: [column.num && "num", column.wrap && "wrap", column.dim && "dim"].filter(Boolean).join(" ") || null });
      row.cells.push(cell);
      row.updates.push(column.make ? column.make(cell, row) : (item) => { const words = column.text(item); text(cell, words); if (column.tip) mark(cell, "title", words); });
      element.append(cell);
    }
    this.fit(row);
    return row;
  }
  fill(row, id, place) {
    const { element } = row;
    if (row.place !== place) { row.place = place; element.style.transform = `translateY(${place * this.height}px)`; mark(element, "aria-rowindex", place + 2); }
    else if (row.height !== this.height) element.style.transform = `translateY(${place * this.height}px)`;
    row.height = this.height;
    const item = this.get(id);
    mark(element, "data-gone", !item);
    if (item) {
      row.item = item;
      this.columns.forEach((column, n) => { if (this.kept.has(column)) row.updates[n](item); });
      mark(element, "data-open", panel.key === `${this.kind}/${id}`);
    }
    const index = id === this.current ? 0 : -1;
    if (row.index !== index) { row.index = index; for (const control of controls(element)) control.tabIndex = index; }
  }

  // Only the controls of the current row are in the order of the Tab key. The arrow keys change the row.
  focused(event) {
    const element = event.target.closest("tbody tr");
    if (!element) return;
    this.column = Math.max(0, controls(element).indexOf(event.target));
    for (const [id, row] of this.shownRows) if (row.element === element && this.current !== id) { this.current = id; this.paint(); }
  }
  key(event) {
    if (event.target.closest("thead")) {
      const buttons = controls(this.headRow).filter((one) => !one.closest("[hidden]"));
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { const to = buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length]; for (const one of buttons) one.tabIndex = one === to ? 0 : -1; to.focus(); event.preventDefault(); }
      else if (event.key === "ArrowDown" && this.order.length) { this.move(Math.max(0, this.order.indexOf(this.current))); event.preventDefault(); }
      return;
    }
    const at = this.order.indexOf(this.current), page = Math.max(1, Math.floor((innerHeight - stickyHeight()) / this.height) - 1);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.order.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 && event.key === "ArrowUp") this.headRow.querySelector("[tabindex='0']")?.focus();
    else this.move(Math.min(this.order.length - 1, Math.max(0, to)));
  }
  move(place) {
    this.current = this.order[place];
    const top = this.body.getBoundingClientRect().top + place * this.height, under = stickyHeight();
    if (top < under) scrollBy({ top: top - under, behavior: "instant" });
    else if (top + this.height > innerHeight - 8) scrollBy({ top: top + this.height - innerHeight + 8, behavior: "instant" });
    this.paint();
    const found = controls(this.shownRows.get(this.current)?.element);
    (found[Math.min(this.column, found.length - 1)] || this.table).focus({ preventScroll: true });
  }
}
const controls = (element) => (element ? [...element.querySelectorAll("button, input, a[href]")] : []);
const stickyHeight = () => $("top").offsetHeight + 36;
