// Trends, drawn by uPlot (vendored). Keeps at most two hours; every line that matters also stands as a number beside the chart.

import { clock, siText } from "./format.js";

const SPAN_S = 7200;
const RATE_WINDOW_S = 60;
const REJECT_WINDOW_S = 300; // rejects are rare: over a minute they would only look like noise
const SECONDS_BELOW_S = 600; // a shorter axis names its seconds
const SHORTEST_AXIS_S = 60;
const REASONS = 4; // the rarer ones are added up
const BANDS = [0.01, 0.02];
const AHEAD_PART = 0.35; // of the axis, for what is asked next
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 6]];

export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** The site's past in columns, as GET /api/v1/history gives it, grown by one sample a second. */
export class Past {
  constructor() {
    this.clear();
  }

  clear() {
    this.t = [];
    this.demand = [];
    this.heat = [];
    this.accepted = [];
    this.rejected = {};
    this.refused = [];
  }

  load(columns) {
    this.t = columns.at_unix_s;
    this.demand = columns.demand_w;
    this.heat = columns.heat_w;
    this.accepted = columns.accepted;
    this.refused = columns.refused;
    this.rejected = columns.rejected;
  }

  add(nowS, heat, shares) {
    if (this.t.length && nowS <= this.t.at(-1)) return;
    this.t.push(nowS);
    this.demand.push(heat.demand_w);
    this.heat.push(heat.heat_w);
    this.accepted.push(shares.accepted);
    this.refused.push(Object.values(shares.refused).reduce((sum, n) => sum + n, 0));
    for (const verdict of new Set([...Object.keys(this.rejected), ...Object.keys(shares.rejected)])) {
      this.rejected[verdict] ??= new Array(this.t.length - 1).fill(0);
      this.rejected[verdict].push(shares.rejected[verdict] ?? 0);
    }
    const old = this.t.findIndex((t) => t >= nowS - SPAN_S);
    if (old > 60) {
      for (const column of [this.t, this.demand, this.heat, this.accepted, this.refused, ...Object.values(this.rejected)]) column.splice(0, old);
    }
  }

  /** Totals to rates by `per` seconds, each over the last `windowS` or what there is of it; null while that is too little. */
  rate(totals, per = 1, windowS = RATE_WINDOW_S) {
    const rates = new Array(totals.length).fill(null);
    for (let i = 0, j = 0; i < totals.length; i += 1) {
      while (this.t[i] - this.t[j + 1] >= windowS) j += 1;
      const span = this.t[i] - this.t[j];
      // A restart of the server starts its totals anew: no rate across it. A young chart takes what it has after a while.
      if (span >= windowS / 6 && totals[i] >= totals[j]) rates[i] = ((totals[i] - totals[j]) / span) * per;
    }
    return rates;
  }

  /** Part of the decided shares of the last `spanS` that did not count; null when none were decided. */
  rejectPart(spanS) {
    const last = this.t.length - 1;
    if (last < 1) return null;
    const first = Math.max(0, this.t.findIndex((t) => t >= this.t[last] - spanS));
    const grown = (column) => column[last] - column[first];
    const bad = grown(this.refused) + Object.values(this.rejected).reduce((sum, column) => sum + grown(column), 0);
    const all = bad + grown(this.accepted);
    return all > 0 && bad >= 0 ? bad / all : null;
  }
}

export class Trend {
  constructor(node, height, build) {
    this.node = node;
    this.height = height;
    this.build = build;
    this.plot = null;
    this.shape = "";
    new ResizeObserver(() => this.resize()).observe(node);
  }

  size() {
    return { width: Math.max(200, this.node.clientWidth), height: this.height };
  }

  resize() {
    if (this.plot && this.plot.width !== this.size().width) this.plot.setSize(this.size());
  }

  /** Colours are drawn into the canvas: a new theme needs a new plot. */
  renew() {
    this.plot?.destroy();
    this.plot = null;
  }

  draw(data, shape = "") {
    if (this.plot && this.shape === shape) {
      this.plot.setData(data);
      this.showNewest();
      return;
    }
    this.renew();
    this.shape = shape;
    this.node.replaceChildren();
    this.plot = new uPlot({ ...this.build(shape), ...this.size() }, data, this.node);
    this.showNewest();
  }

  /** While nobody points at the chart, its legend shows the newest values. */
  showNewest() {
    const newest = this.newest ?? this.plot.data[0].length - 1;
    if (this.plot.cursor.left === undefined || this.plot.cursor.left < 0) this.plot.setLegend({ idx: newest });
  }
}

function axes(unitText, size = 62) {
  const grid = { stroke: colour("--hair"), width: 1 };
  const common = { stroke: colour("--muted"), grid, ticks: { ...grid, size: 4 }, font: "12px system-ui, sans-serif" };
  return [
    { ...common, space: 84, size: 26, values: (_, ticks) => ticks.map((t) => clock(t, ticks.at(-1) - ticks[0] < SECONDS_BELOW_S)) },
    { ...common, space: 34, size, values: (_, ticks) => ticks.map(unitText) },
  ];
}

export function options(yRange, unitText) {
  return {
    legend: { show: true, live: true, markers: { width: 2, fill: () => "transparent", dash: (u, i) => legendDash(u.series[i].dash) } },
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    padding: [6, 18, 0, 0],
    scales: {
      x: { time: true, range: (_, low, high) => [low, Math.max(high, low + SHORTEST_AXIS_S)] },
      y: { range: yRange },
    },
    axes: axes(unitText),
  };
}

/** Close enough to read the deviation, never so close that noise looks like an event. */
function closeRange(_, low, high) {
  if (low === null || low === undefined) return [0, 1];
  const span = Math.max(high - low, Math.abs(high) * 0.12, 1);
  const middle = (high + low) / 2;
  return [Math.max(0, middle - span * 0.62), middle + span * 0.62];
}

export function fromZero(_, __, high) {
  return [0, high > 0 ? high * 1.15 : 1];
}

function legendDash(dash) {
  return !dash?.length ? "solid" : dash[0] < 4 ? "dotted" : "dashed";
}

const points = { show: false }; // a line, however young it is
const time = { label: "time", value: (_, t) => (t === null ? "--" : clock(t)) };

export function heatTrend(node) {
  const value = (_, v) => siText(v, "W");
  const edge = { class: "edge", width: 0, paths: uPlot.paths.stepped({ align: 1 }), points };
  return new Trend(node, 286, () => ({
    ...options(closeRange, (v) => siText(v, "W")),
    series: [
      time,
      { label: "delivered", stroke: colour("--text"), width: 2, value, points },
      { label: "demand", stroke: colour("--setpoint"), width: 2, dash: [7, 4], value, paths: uPlot.paths.stepped({ align: 1 }), points },
      ...BANDS.flatMap((part) => [{ label: `+${part * 100} %`, ...edge }, { label: `-${part * 100} %`, ...edge }]),
      { label: "asked next", stroke: colour("--setpoint"), width: 1.5, dash: [2, 4], value, paths: uPlot.paths.stepped({ align: 1 }), points },
    ],
    bands: BANDS.map((_, i) => ({ series: [3 + 2 * i, 4 + 2 * i], fill: colour("--band") })),
  }));
}

/** What was delivered and asked, with the bands around it, and beyond now the rest of this demand and the ones that wait. */
export function heatData(past, heat, waiting) {
  const last = past.t.length - 1;
  const shown = Math.max(past.t[last] - past.t[0], SHORTEST_AXIS_S);
  const endS = past.t[last] + (shown * AHEAD_PART) / (1 - AHEAD_PART);
  const present = { start_unix_s: past.t[last] + 0.001, end_unix_s: past.t[last] + (heat.demand_valid_for_s ?? 0), power_w: heat.demand_w };
  const isKnown = (block) => block.power_w !== null && block.start_unix_s > past.t[last] && block.start_unix_s < Math.min(endS, block.end_unix_s);
  // A demand that is only renewed in time has no future worth a line: it is drawn where others wait behind it.
  const blocks = waiting.length ? [present, ...waiting].filter(isKnown) : [];
  const times = [];
  const asked = [];
  const put = (t, w) => { times.push(t); asked.push(w); };
  blocks.forEach((block, i) => {
    const next = blocks[i + 1]?.start_unix_s ?? Infinity;
    put(block.start_unix_s, block.power_w);
    const until = Math.min(block.end_unix_s, endS);
    if (until < next) put(until, null); // a hole: nobody asks there
  });
  if (asked.length && asked.at(-1) === null) asked[asked.length - 1] = blocks.at(-1).power_w; // a step's value holds to its end
  const nothing = new Array(times.length).fill(null);
  const now = past.t.map(() => null);
  const edges = BANDS.flatMap((part) => [1 + part, 1 - part]).map((factor) => past.demand.map((w) => (w === null ? null : w * factor)));
  return [
    [...past.t, ...times], [...past.heat, ...nothing], [...past.demand, ...nothing],
    ...edges.map((edge) => [...edge, ...nothing]), [...now, ...asked],
  ];
}

export function shareTrend(node) {
  return new Trend(node, 150, () => ({
    ...options(fromZero, (v) => `${+v.toPrecision(3)}/s`),
    series: [
      time,
      { label: "accepted by pools", stroke: colour("--text"), width: 2, points, value: (_, v) => (v === null ? "--" : `${v.toFixed(1)} /s`) },
    ],
  }));
}

export function rejectTrend(node) {
  const inks = ["--text", "--muted", "--line", "--text", "--muted"];
  return new Trend(node, 150, (shape) => ({
    ...options(fromZero, (v) => `${+v.toPrecision(3)}/min`),
    series: [
      time,
      ...shape.split("\n").map((label, i) => ({
        label,
        stroke: colour(inks[i % inks.length]),
        width: 1.5,
        points,
        dash: DASHES[i % DASHES.length],
        value: (_, v) => (v === null ? "--" : `${v.toFixed(1)} /min`),
      })),
    ],
  }));
}

/** [data, shape]: our own rejects by verdict (the most frequent first, the rest together) and what pools refused. */
export function rejectData(past) {
  const ranked = Object.entries(past.rejected).sort((a, b) => b[1].at(-1) - a[1].at(-1) || a[0].localeCompare(b[0]));
  const lines = ranked.slice(0, REASONS - 1).map(([name, totals]) => [name.replaceAll("_", " "), totals]);
  const rest = ranked.slice(REASONS - 1);
  if (rest.length) lines.push(["other", past.t.map((_, i) => rest.reduce((sum, [, totals]) => sum + totals[i], 0))]);
  lines.push(["refused by pool", past.refused]);
  return [[past.t, ...lines.map(([, totals]) => past.rate(totals, 60, REJECT_WINDOW_S))], lines.map(([name]) => name).join("\n")];
}
