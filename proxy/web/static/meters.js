// The meters as a table under the heat: what each shows, and why one that is left out is. Hidden where a site has none.

import { UNKNOWN, celsius, duration, el, siText } from "./format.js";

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

/** Puts the meters of the stream into `node`. */
export function showMeters(node, meters) {
  node.hidden = meters.length === 0;
  if (node.hidden) return;
  const head = el("tr", {}, ...COLUMNS.map((name, i) => el("th", { scope: "col", class: i >= NUMBERS_FROM ? "num" : null }, name)));
  node.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, ...meters.flatMap(rows))));
}
