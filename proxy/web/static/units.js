// The units: a map in physical order, the same data as a table, and one selected unit in full. Greys for amounts, shapes for states.

import { UNKNOWN, celsius, count, duration, el, percent, si, siText, stateWord } from "./format.js";
import { deviation, showWatch, trouble } from "./watch.js";

const STEPS = 6;
const GLYPHS = { SLEEPING: "z", IDLE: "z", WAKING: "/", RAMPING: "/", CALIBRATING: "/", FAULT: "!", LOCKED_OUT: "L", SERVICE: "w" };
const LEGEND = [["SLEEPING", "asleep"], ["RAMPING", "changing"], ["SERVICE", "in service"], ["FAULT", "fault"], ["unknown", "unknown"]];

const between = (value, low, high) => (value === null ? null : Math.min(1, Math.max(0, (value - low) / (high - low))));

const MODES = {
  power: { of: (u) => between(u.power_w, 0, u.power_max_w ?? 1), low: "0 W", high: "its highest level" },
  deviation: {
    of: (u) => (u.power_w === null || u.power_commanded_w === null ? null : between(Math.abs(u.power_w - u.power_commanded_w) / Math.max(u.power_commanded_w, 100), 0, 0.2)),
    low: "as commanded", high: "20 % off",
  },
  proof: {
    of: (u) => (u.hashrate_shares_hps === null || !u.hashrate_expected_hps ? null : between(u.hashrate_shares_hps / u.hashrate_expected_hps, 0, 1.1)),
    low: "nothing", high: "110 % of expected",
  },
  chip: { of: (u) => between(u.chip_c, 40, 100), low: "40 °C", high: "100 °C" },
  outlet: { of: (u) => between(u.outlet_c, 30, 90), low: "30 °C", high: "90 °C" },
};

const COLUMNS = [
  ["Unit", (u) => u.id, (u) => u.id],
  ["State", (u) => stateWord(u.state), (u) => stateWord(u.state)],
  ["Level", (u) => u.level_commanded, (u) => levels(u), true],
  ["Power", (u) => u.power_w, (u) => siText(u.power_w, "W"), true],
  ["Commanded", (u) => u.power_commanded_w, (u) => siText(u.power_commanded_w, "W"), true],
  ["Deviation", (u, nowS) => rank(u, nowS), (u) => (deviation(u) === null ? UNKNOWN : `${percent(deviation(u), 0, true)} %`), true],
  ["Hashrate (shares)", (u) => u.hashrate_shares_hps, (u) => siText(u.hashrate_shares_hps, "H/s"), true],
  ["of expected", (u) => proof(u), (u) => (proof(u) === null ? UNKNOWN : `${percent(proof(u), 0)} %`), true],
  ["In, °C", (u) => u.inlet_c, (u) => celsius(u.inlet_c), true],
  ["Out, °C", (u) => u.outlet_c, (u) => celsius(u.outlet_c), true],
  ["Chip, °C", (u) => u.chip_c, (u) => celsius(u.chip_c), true],
  ["Accepted", (u) => u.accepted, (u) => count(u.accepted), true],
  ["Rejected", (u) => u.rejected, (u) => count(u.rejected), true],
  ["Pool", (u) => u.pool, (u) => u.pool ?? UNKNOWN],
];

const DEVIATION = COLUMNS.findIndex(([name]) => name === "Deviation");

function proof(unit) {
  return unit.hashrate_shares_hps === null || !unit.hashrate_expected_hps ? null : unit.hashrate_shares_hps / unit.hashrate_expected_hps;
}

/** Troubles first, by their rank, then the size of the deviation; null sorts last. */
function rank(unit, nowS) {
  const known = trouble(unit, nowS);
  return known ? 1 + known[0] : Math.abs(deviation(unit) ?? 0);
}

function levels(unit) {
  const one = (level) => (level === null ? UNKNOWN : String(level));
  return unit.level_commanded === unit.level_observed ? one(unit.level_commanded) : `${one(unit.level_observed)} \u2192 ${one(unit.level_commanded)}`;
}

export class Units {
  constructor() {
    this.units = new Map();
    this.cells = new Map();
    this.rows = new Map();
    this.mode = "power";
    this.filter = [];
    this.sort = { column: DEVIATION, down: true }; // what deviates stands first
    this.selected = null;
    this.nowS = 0;
    this.map = document.getElementById("map");
    this.table = document.getElementById("unit-table");
    this.detail = document.getElementById("detail");
    this.watchlist = document.getElementById("watchlist");
    this.listen();
  }

  listen() {
    const mode = document.getElementById("fill-mode");
    mode.addEventListener("change", () => { this.mode = mode.value; this.repaint(); });
    const filter = document.getElementById("unit-filter");
    filter.addEventListener("input", () => { this.filter = filter.value.toLowerCase().split(/\s+/).filter(Boolean); this.applyFilter(); });
    document.getElementById("as-map").addEventListener("click", () => this.view(false));
    document.getElementById("as-table").addEventListener("click", () => this.view(true));
    this.map.addEventListener("click", (event) => this.pick(event.target.closest(".cell")));
    this.map.addEventListener("keydown", (event) => this.move(event));
    this.table.addEventListener("click", (event) => this.clickTable(event));
  }

  view(asTable) {
    this.map.hidden = asTable;
    document.getElementById("scale").hidden = asTable;
    this.table.hidden = !asTable;
    document.getElementById("as-map").setAttribute("aria-pressed", String(!asTable));
    document.getElementById("as-table").setAttribute("aria-pressed", String(asTable));
    if (asTable) this.buildTable();
  }

  reset(units, nowS) {
    this.units = new Map(units.map((unit) => [unit.id, unit]));
    this.nowS = nowS;
    document.getElementById("units-empty").hidden = units.length > 0;
    document.getElementById("units-empty").textContent = "No units configured. Add [[units]] to the site file, or a units_file.";
    this.buildMap();
    this.repaint();
    if (!this.table.hidden) this.buildTable();
    if (this.selected && !this.units.has(this.selected)) this.select(null);
  }

  update(units, gone, nowS) {
    this.nowS = nowS;
    if (gone?.length || units.some((unit) => !this.units.has(unit.id))) {
      for (const id of gone ?? []) this.units.delete(id);
      this.reset([...this.units.values(), ...units.filter((unit) => !this.units.has(unit.id))], nowS);
    }
    for (const unit of units) this.units.set(unit.id, unit);
    for (const unit of units) {
      this.paint(unit);
      if (!this.table.hidden) this.fillRow(unit);
    }
    this.summary();
    showWatch(this.watchlist, this.units.values(), nowS, (id) => this.select(id));
    this.showDetail();
  }

  // map

  buildMap() {
    const loops = new Map();
    for (const unit of this.units.values()) {
      if (!loops.has(unit.loop)) loops.set(unit.loop, []);
      loops.get(unit.loop).push(unit);
    }
    const focused = document.activeElement?.closest?.(".cell")?.dataset.unit;
    this.cells.clear();
    this.map.replaceChildren(...[...loops].map(([loop, members]) => {
      const cells = el("div", { class: "cells", role: "row", "aria-label": loop });
      for (const unit of members) {
        const cell = el("div", { class: "cell", role: "gridcell", tabindex: "-1", "data-unit": unit.id });
        this.cells.set(unit.id, cell);
        cells.append(cell);
      }
      return el("div", { class: "loop", role: "rowgroup", "data-loop": loop }, el("h3", {}, loop, el("small", {})), cells);
    }));
    const stop = this.cells.get(focused ?? this.selected) ?? this.cells.values().next().value;
    stop?.setAttribute("tabindex", "0");
    if (focused) stop?.focus();
    this.applyFilter();
  }

  repaint() {
    for (const unit of this.units.values()) this.paint(unit);
    this.showScale();
    this.summary();
  }

  paint(unit) {
    const cell = this.cells.get(unit.id);
    if (!cell) return;
    const part = MODES[this.mode].of(unit);
    const marked = unit.state in GLYPHS;
    const state = unit.state === "OFFLINE" || (part === null && !marked) ? "unknown" : unit.state;
    const fill = part === null ? 0 : Math.round(part * STEPS);
    const label = this.describe(unit);
    if (cell.shown === `${state}${fill}${label}`) return;
    cell.shown = `${state}${fill}${label}`;
    cell.dataset.state = state;
    cell.dataset.fill = String(fill);
    cell.textContent = state === "unknown" ? "?" : GLYPHS[state] ?? "";
    cell.setAttribute("aria-label", label);
    cell.title = label;
  }

  describe(unit) {
    const power = unit.power_w === null ? "power unknown" : siText(unit.power_w, "W");
    const chip = unit.chip_c === null ? "chip unknown" : `chip ${celsius(unit.chip_c)} °C`;
    const level = unit.level_commanded === null ? "" : `, level ${unit.level_commanded}`;
    return `${unit.id}, ${stateWord(unit.state)}${unit.fault ? ` (${unit.fault})` : ""}${level}, ${power}, ${chip}`;
  }

  showScale() {
    const { low, high } = MODES[this.mode];
    const ramp = el("span", { class: "ramp" }, low);
    for (let step = 0; step <= STEPS; step += 1) ramp.append(el("span", { class: "cell", "data-fill": String(step) }));
    ramp.append(el("span", {}, `\u2002${high}`));
    const marks = LEGEND.map(([state, word]) => el("span", { class: "mark" },
      el("span", { class: "cell", "data-state": state, "data-fill": "0" }, state === "unknown" ? "?" : GLYPHS[state]), word));
    document.getElementById("scale").replaceChildren(ramp, ...marks);
  }

  summary() {
    const states = new Map();
    const loops = new Map();
    for (const unit of this.units.values()) {
      states.set(unit.state, (states.get(unit.state) ?? 0) + 1);
      const loop = loops.get(unit.loop) ?? { power: 0, known: 0, all: 0 };
      loop.all += 1;
      if (unit.power_w !== null) { loop.power += unit.power_w; loop.known += 1; }
      loops.set(unit.loop, loop);
    }
    const words = [...states].sort((a, b) => b[1] - a[1]).map(([state, n]) => `${n} ${stateWord(state)}`);
    document.getElementById("unit-counts").textContent = `${this.units.size}: ${words.join(", ")}`;
    for (const section of this.map.children) {
      const loop = loops.get(section.dataset.loop);
      if (!loop) continue;
      const blind = loop.all - loop.known;
      const power = loop.known ? siText(loop.power, "W") : UNKNOWN;
      section.querySelector("small").textContent = `${power} electrical, ${loop.all} units${blind ? `, ${blind} unread` : ""}`;
    }
  }

  move(event) {
    const cells = [...this.cells.values()];
    const at = cells.indexOf(event.target.closest(".cell"));
    if (at < 0) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.pick(cells[at]);
      return;
    }
    const next = this.neighbour(cells, at, event);
    if (!next) return;
    event.preventDefault();
    cells[at].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }

  neighbour(cells, at, event) {
    const loops = [...this.map.querySelectorAll(".cells")];
    const loop = loops.indexOf(cells[at].parentElement);
    if (event.ctrlKey && event.key === "ArrowDown") return loops[loop + 1]?.firstElementChild;
    if (event.ctrlKey && event.key === "ArrowUp") return loops[loop - 1]?.firstElementChild;
    if (event.key === "ArrowRight") return cells[at + 1];
    if (event.key === "ArrowLeft") return cells[at - 1];
    if (event.key === "Home") return event.ctrlKey ? cells[0] : cells[at].parentElement.firstElementChild;
    if (event.key === "End") return event.ctrlKey ? cells.at(-1) : cells[at].parentElement.lastElementChild;
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return null;
    // The nearest cell in the next line as it is drawn, whatever the width of the page makes of the lines.
    const here = cells[at].getBoundingClientRect();
    const sign = event.key === "ArrowDown" ? 1 : -1;
    const beyond = cells.map((cell) => [cell, cell.getBoundingClientRect()]).filter(([, box]) => (box.top - here.top) * sign > 4);
    const distance = (box) => Math.abs(box.left - here.left) + 3 * Math.abs(box.top - here.top);
    return beyond.sort((a, b) => distance(a[1]) - distance(b[1]))[0]?.[0];
  }

  pick(cell) {
    if (!cell) return;
    this.map.querySelector('.cell[tabindex="0"]')?.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
    this.select(cell.dataset.unit === this.selected ? null : cell.dataset.unit);
  }

  applyFilter() {
    for (const unit of this.units.values()) {
      const matches = this.matches(unit);
      this.cells.get(unit.id)?.classList.toggle("dim", !matches);
      const row = this.rows.get(unit.id);
      if (row) row.hidden = !matches;
    }
  }

  matches(unit) {
    const text = [unit.id, unit.loop, unit.model, unit.state, stateWord(unit.state), unit.pool, unit.worker, unit.fault, unit.serial].join(" ").toLowerCase();
    return this.filter.every((word) => text.includes(word));
  }

  // table

  buildTable() {
    const head = el("tr", {}, ...COLUMNS.map(([name, , , isNumber], i) => {
      const order = this.sort.column === i ? (this.sort.down ? "descending" : "ascending") : "none";
      return el("th", { scope: "col", class: isNumber ? "num" : null, "aria-sort": order, "data-column": String(i) }, el("button", { type: "button" }, name));
    }));
    this.rows.clear();
    const key = COLUMNS[this.sort.column][1];
    const sign = this.sort.down ? -1 : 1;
    const sorted = [...this.units.values()].sort((a, b) => sign * compare(key(a, this.nowS), key(b, this.nowS)));
    const body = el("tbody", {}, ...sorted.map((unit) => {
      const row = el("tr", { "data-unit": unit.id });
      row.append(...COLUMNS.map(([, , , isNumber], i) => (i === 0 ? el("th", { scope: "row" }) : el("td", { class: isNumber ? "num live" : "live" }))));
      this.rows.set(unit.id, row);
      this.fillRow(unit);
      return row;
    }));
    this.table.replaceChildren(el("table", {}, el("thead", {}, head), body));
    this.applyFilter();
  }

  fillRow(unit) {
    const row = this.rows.get(unit.id);
    if (!row) return;
    COLUMNS.forEach(([, , text], i) => {
      const shown = text(unit);
      if (row.children[i].textContent !== shown) row.children[i].textContent = shown;
    });
    row.setAttribute("aria-selected", String(unit.id === this.selected));
  }

  clickTable(event) {
    const head = event.target.closest("th[data-column]");
    if (head) {
      const column = Number(head.dataset.column);
      this.sort = { column, down: this.sort.column === column && !this.sort.down };
      this.buildTable();
      this.table.querySelector(`th[data-column="${column}"] button`).focus();
      return;
    }
    const row = event.target.closest("tr[data-unit]");
    if (row) this.select(row.dataset.unit);
  }

  // one unit

  select(id) {
    for (const [unitId, cell] of this.cells) cell.setAttribute("aria-selected", String(unitId === id));
    for (const [unitId, row] of this.rows) row.setAttribute("aria-selected", String(unitId === id));
    this.selected = id;
    this.detail.hidden = id === null;
    this.detail.shown = null;
    this.showDetail();
  }

  showDetail() {
    const unit = this.units.get(this.selected);
    if (!unit) return;
    const age = (at) => (at === null ? UNKNOWN : `${duration(this.nowS - at)} ago`);
    const facts = [
      ["State", `${stateWord(unit.state)}, for ${duration(this.nowS - unit.state_at_unix_s)}`], ["Fault", unit.fault ?? "none"],
      ["Its word on power", unit.doubt == null ? "believed" : `not believed: ${unit.doubt}`],
      ["Model", unit.model], ["Serial", unit.serial ?? UNKNOWN], ["Address", unit.address], ["Worker", unit.worker],
      ["Speaks", unit.stratum_version == null ? UNKNOWN : `Stratum V${unit.stratum_version}`], ["Firmware says", unit.user_agent ?? UNKNOWN], ["Level, asked / seen", `${unit.level_commanded ?? UNKNOWN} / ${unit.level_observed ?? UNKNOWN}`],
      ["Power, commanded", siText(unit.power_commanded_w, "W")], ["Power, measured", siText(unit.power_w, "W")],
      ["Hashrate, expected", siText(unit.hashrate_expected_hps, "H/s")], ["Hashrate, it says", siText(unit.hashrate_reported_hps, "H/s")],
      ["Power, proven by shares", unit.power_shares_w == null ? UNKNOWN : `${siText(unit.power_shares_low_w, "W")} to ${siText(unit.power_shares_high_w, "W")}`],
      ["Hashrate, proven", siText(unit.hashrate_shares_hps, "H/s")], ["Water in / out", `${celsius(unit.inlet_c)} / ${celsius(unit.outlet_c)} °C`],
      ["Hottest chip", `${celsius(unit.chip_c)} °C`], ["Last reading", age(unit.reading_at_unix_s)],
      ["Pool", unit.connected ? unit.pool ?? UNKNOWN : "not connected"], ["Difficulty", unit.difficulty === null ? UNKNOWN : si(unit.difficulty, "").text + si(unit.difficulty, "").unit],
      ["Last share", age(unit.share_at_unix_s)], ["Accepted / rejected", `${count(unit.accepted)} / ${count(unit.rejected)}`],
    ];
    if (this.detail.shown !== unit.id) {
      const close = el("button", { type: "button" }, "Close");
      close.addEventListener("click", () => { this.cells.get(unit.id)?.focus(); this.select(null); });
      this.detail.replaceChildren(el("h3", {}, unit.id, close), el("dl", {}, ...facts.map(([name]) => el("div", {}, el("dt", {}, name), el("dd", { "data-value": name })))));
      this.detail.shown = unit.id;
    }
    const places = this.detail.querySelectorAll("dd");
    facts.forEach(([, text], i) => { if (places[i].textContent !== text) places[i].textContent = text; });
  }
}

/** Unknown values go last when rising. */
function compare(a, b) {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}
