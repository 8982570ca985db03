// The plan ahead: figures for now, the blocks as three pictures under one another, and in words what is short. Asks for the blocks
// only when a new plan was made; everything else comes with the stream.

import { Trend, colour, fromZero, options } from "./charts.js";
import { UNKNOWN, clock, duration, el, shortTime, show, si, siText } from "./format.js";
import { request } from "./stream.js";

const STATES = { good: "as asked", short: "something is short", kept: "a newer one failed", none: "none" };
const points = { show: false };
const stepped = () => uPlot.paths.stepped({ align: 1 });

const byId = (id) => document.getElementById(id);
const place = (name) => document.querySelector(`[data-value="${name}"]`);

function weekday(unixS) {
  return new Date(unixS * 1000).toLocaleDateString("en-GB", { weekday: "short", day: "numeric" });
}

function moment(unixS) {
  return `${weekday(unixS)} ${clock(unixS, false)}`;
}

function tick(unixS) {
  const date = new Date(unixS * 1000);
  return date.getHours() === 0 && date.getMinutes() === 0 ? weekday(unixS) : clock(unixS, false);
}

function price(value, places = 4) {
  return value === null || value === undefined ? UNKNOWN : value.toFixed(places);
}

function aroundZero(_, low, high) {
  const span = Math.max((high ?? 0) - Math.min(low ?? 0, 0), 0.001);
  return [low < 0 ? low - span * 0.1 : 0, Math.max(high ?? 0, 0) + span * 0.12];
}

/** A picture whose legend shows the block of this moment while nobody points at it. */
class Ahead extends Trend {
  showNewest() {
    if (this.plot.cursor.left >= 0) return;
    const after = this.plot.data[0].findIndex((t) => t > this.nowS);
    this.plot.setLegend({ idx: Math.max(0, after < 0 ? this.plot.data[0].length - 1 : after - 1) });
  }
}

function picture(node, height, unitText, range, lines) {
  const ahead = new Ahead(node, height, () => {
    const base = options(range, unitText);
    base.axes[1].size = 76; // "1.25 MWh" fits
    base.axes[0].values = (_, ticks) => ticks.map(tick);
    base.cursor.sync = { key: "plan" };
    base.hooks = { draw: [(u) => nowLine(u, ahead.nowS)] };
    const time = { label: "time", value: (_, t) => (t === null ? UNKNOWN : moment(t)) };
    return { ...base, series: [time, ...lines().map((line) => ({ points, width: 2, ...line }))] };
  });
  return ahead;
}

function nowLine(u, nowS) {
  const x = u.valToPos(nowS, "x", true);
  if (!(x >= u.bbox.left && x <= u.bbox.left + u.bbox.width)) return;
  u.ctx.save();
  u.ctx.strokeStyle = colour("--line");
  u.ctx.lineWidth = 1;
  u.ctx.setLineDash([]);
  u.ctx.beginPath();
  u.ctx.moveTo(x, u.bbox.top);
  u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
  u.ctx.stroke();
  u.ctx.restore();
}

/** [times, ...columns] of stepped lines: each block's value holds to its end, so the last one stands there again. */
function steps(blocks, ...columns) {
  const last = blocks.start_unix_s.length - 1;
  return [[...blocks.start_unix_s, blocks.start_unix_s[last] + blocks.length_s[last]], ...columns.map((column) => [...column, column[last]])];
}

/** Content of the tank at the borders of the blocks. */
function contents(blocks) {
  const [times] = steps(blocks);
  const first = blocks.tank_wh[0] === null ? null : blocks.tank_wh[0] - (blocks.tank_charge_w[0] * blocks.length_s[0]) / 3600;
  return [times, [first, ...blocks.tank_wh]];
}

export class Plan {
  constructor() {
    const watts = (_, v) => siText(v, "W");
    const money = (_, v) => (v === null ? UNKNOWN : `${price(v)} ${this.currency}/kWh`);
    this.currency = "";
    this.blocks = null;
    this.madeAt = null;
    this.heat = picture(byId("plan-heat"), 180, (v) => siText(v, "W"), fromZero, () => [
      { label: "heat of the units", stroke: colour("--text"), value: watts, paths: stepped() },
      { label: "demand", stroke: colour("--setpoint"), dash: [7, 4], value: watts, paths: stepped() },
      { label: "back-up boiler", stroke: colour("--muted"), dash: [2, 3], value: watts, paths: stepped() },
    ]);
    this.tank = picture(byId("plan-tank"), 130, (v) => siText(v, "Wh"), fromZero, () => [
      { label: "in the tank", stroke: colour("--text"), fill: colour("--band"), value: (_, v) => siText(v, "Wh") },
    ]);
    this.price = picture(byId("plan-price"), 150, (v) => price(v, 2), aroundZero, () => [
      { label: "one more kWh of heat", stroke: colour("--text"), value: money, paths: stepped() },
      { label: "electricity", stroke: colour("--muted"), dash: [2, 3], value: money, paths: stepped() },
    ]);
  }

  /** What the stream says of the plan; null where the site does not plan. */
  take(plan, nowS) {
    byId("plan").hidden = !plan;
    if (!plan) return;
    this.nowS = nowS;
    this.currency = plan.currency;
    this.figures(plan);
    this.words(plan, nowS);
    if (plan.made_unix_s !== this.madeAt) {
      this.madeAt = plan.made_unix_s;
      this.load().catch((error) => {
        this.madeAt = null;
        console.warn("no plan", error.message);
      });
    }
  }

  figures(plan) {
    const per = `${plan.currency}/kWh`;
    const noPlan = plan.state === "none" ? "no plan" : "";
    show(place("plan_state"), { text: STATES[plan.state] ?? plan.state, abnormal: plan.state !== "good" });
    show(place("plan_price"), { text: price(plan.price_of_heat_per_kwh), unit: per, why: noPlan || "no money gets it" });
    show(place("plan_electricity"), { text: price(plan.electricity_per_kwh), unit: per, why: noPlan });
    const planned = plan.tank_planned_wh === null ? "" : `planned ${siText(plan.tank_planned_wh, "Wh")}`;
    show(place("plan_tank"), plan.tank_capacity_wh > 0
      ? { ...si(plan.tank_wh, "Wh"), why: "nobody says what it holds", note: planned }
      : { text: "none" });
    const charge = plan.tank_charge_w;
    show(place("plan_charge"), { ...si(charge === null ? null : Math.abs(charge), "W"), why: noPlan || "tank left alone", note: charge > 0 ? "in" : charge < 0 ? "out" : "" });
    show(place("plan_backup"), { ...si(plan.backup_w, "W"), why: noPlan });
  }

  words(plan, nowS) {
    const facts = [];
    if (plan.made_unix_s !== null) {
      const money = (value) => `${Math.round(value).toLocaleString("en").replaceAll(",", "\u202f")} ${plan.currency}`;
      facts.push(`made ${duration(nowS - plan.made_unix_s)} ago in ${shortTime(plan.solve_s)}, until ${moment(plan.end_unix_s)}`);
      facts.push(`work earns ${money(plan.work_revenue)}, heat ${money(plan.heat_income)}; electricity costs ${money(plan.electricity_cost)}, the boiler ${money(plan.backup_cost)}`);
    }
    byId("plan-facts").textContent = facts.join("; ");
    const lines = [...plan.reasons.map((text) => [text, true]), ...plan.shortfalls.map((text) => [text, true]), ...plan.notes.map((text) => [text, false])];
    const node = byId("plan-words");
    const shown = JSON.stringify(lines);
    if (node.shown === shown) return;
    node.shown = shown;
    node.hidden = lines.length === 0;
    node.replaceChildren(...lines.map(([text, abnormal]) => el("li", { class: abnormal ? "abnormal" : "note" }, text)));
  }

  async load() {
    const response = await request("/api/v1/heat/plan");
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const { blocks } = await response.json();
    this.blocks = blocks.start_unix_s.length > 0 ? blocks : null;
    this.draw();
  }

  draw() {
    byId("plan-pictures").hidden = this.blocks === null;
    if (document.hidden || this.blocks === null) return;
    for (const ahead of [this.heat, this.tank, this.price]) ahead.nowS = this.nowS;
    const hasTank = this.blocks.tank_wh.some((wh) => wh !== null);
    byId("plan-tank").hidden = !hasTank;
    this.heat.draw(steps(this.blocks, this.blocks.units_heat_w, this.blocks.demand_w, this.blocks.backup_w));
    if (hasTank) this.tank.draw(contents(this.blocks));
    this.price.draw(steps(this.blocks, this.blocks.price_of_heat_per_kwh, this.blocks.electricity_per_kwh));
  }

  renew() {
    for (const ahead of [this.heat, this.tank, this.price]) ahead.renew();
    this.draw();
  }
}
