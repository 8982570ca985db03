// The loops and the meters, each as a table: the water, what a loop draws and may draw, what its interlock says, and why a meter
// that is left out is.

import { UNKNOWN, celsius, duration, el, percent, siText } from "./format.js";

const LOOP_COLUMNS = ["Loop", "Interlock", "Electrical", "Cap", "Heat", "Supply / return", "Sheds above", "Flow"];
const LOOP_NUMBERS_FROM = 2;
const STATES = { running: "clear", shedding: "shedding", dry: "no flow: asleep", tripped: "too hot: asleep" };
const COLUMNS = ["Meter", "Place", "Measures", "State", "Shows", "Supply / return", "Flow", "Counter", "Reading"];
const NUMBERS_FROM = 4;

function water(meter) {
  if (meter.supply_c === null && meter.return_c === null) return UNKNOWN;
  return `${celsius(meter.supply_c)} / ${celsius(meter.return_c)} °C`;
}

function rows(meter) {
  const isWell = meter.state === "ok" || meter.state === "waiting";
  const line = el("tr", {},
    el("th", { scope: "row" }, meter.name),
    el("td", {}, meter.place),
    el("td", {}, meter.measures),
    el("td", { class: "live" }, el("span", { class: isWell ? null : "abnormal" }, meter.state)),
    el("td", { class: "num live" }, siText(meter.power_w, "W")),
    el("td", { class: "num live" }, water(meter)),
    el("td", { class: "num live" }, meter.flow_l_per_min === null ? UNKNOWN : `${meter.flow_l_per_min.toFixed(0)} l/min`),
    el("td", { class: "num live" }, siText(meter.energy_wh, "Wh")),
    el("td", { class: "num live" }, meter.age_s === null ? UNKNOWN : `${duration(meter.age_s)} ago`));
  if (!meter.reason) return [line];
  line.classList.add("has-reason");
  return [line, el("tr", { class: "reason" }, el("td", { colspan: String(COLUMNS.length) }, meter.reason))];
}

function table(columns, numbersFrom, rows) {
  const head = el("tr", {}, ...columns.map((name, i) => el("th", { scope: "col", class: i >= numbersFrom ? "num" : null }, name)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function flow(loop) {
  if (loop.flow_l_per_min === null) return loop.design_flow_l_per_min === null ? "not watched" : UNKNOWN;
  const part = loop.design_flow_l_per_min === null ? "" : ` (${percent(loop.flow_l_per_min / loop.design_flow_l_per_min, 0)} %)`;
  return `${loop.flow_l_per_min.toFixed(0)} l/min${part}`;
}

function loopRow(loop) {
  const isHeld = loop.state !== "running";
  const words = loop.may_wake || isHeld ? STATES[loop.state] ?? loop.state : "wakes no unit";
  const line = el("tr", {},
    el("th", { scope: "row" }, loop.name),
    el("td", { class: "live" }, el("span", { class: isHeld ? "abnormal" : null }, loop.is_locked ? `${words}, locked` : words)),
    el("td", { class: "num live" }, siText(loop.drawn_w, "W")),
    el("td", { class: "num live" }, loop.cap_w === null ? "none" : siText(loop.cap_w, "W")),
    el("td", { class: "num live" }, siText(loop.heat_w, "W")),
    el("td", { class: "num live", title: loop.supply_from === "machines" ? "supply: the middle one of the machines' outlets" : null }, water(loop)),
    el("td", { class: "num" }, `${celsius(loop.shed_supply_c)} °C`),
    el("td", { class: "num live" }, flow(loop)));
  if (loop.may_wake || !loop.reason) return [line];
  line.classList.add("has-reason");
  return [line, el("tr", { class: "reason" }, el("td", { colspan: String(LOOP_COLUMNS.length) }, loop.reason))];
}

/** Puts the loops of the stream into `node`. */
export function showLoops(node, loops) {
  node.hidden = loops.length === 0;
  if (!node.hidden) node.replaceChildren(table(LOOP_COLUMNS, LOOP_NUMBERS_FROM, loops.flatMap(loopRow)));
}

/** Puts the meters of the stream into `node`. */
export function showMeters(node, meters) {
  node.hidden = meters.length === 0;
  if (!node.hidden) node.replaceChildren(table(COLUMNS, NUMBERS_FROM, meters.flatMap(rows)));
}
