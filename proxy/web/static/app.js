// The page: puts what the stream brings in its places, and says how old it is. All state is the server's; nothing is decided here.

import { Alarms } from "./alarms.js";
import { Past, heatData, heatTrend, rejectData, rejectTrend, shareTrend } from "./charts.js";
import { UNKNOWN, celsius, clock, clockWithOffset, count, duration, el, fact, percent, shortTime, show, si, siPair, siText } from "./format.js";
import { showLoops, showMeters } from "./loops.js";
import { Plan } from "./plan.js";
import { showProof, showProvenNow } from "./proof.js";
import { showNext, showRuling, showSignals } from "./signals.js";
import { Stops } from "./stops.js";
import { LiveStream, request, storeKey } from "./stream.js";
import { Units } from "./units.js";

const LATE_S = 10;
const STALE_S = 30;
const EVENTS_SHOWN = 100;
const REJECT_WINDOW_S = 600;
const REJECT_LIMIT = 0.02;
const OFF_LIMIT = 0.02;
const GRADES = { HOLD: "3", FALLBACK: "2", LIMIT: "2", STOP: "1" };
const POOL_COLUMNS = ["Pool", "Speaks", "State", "Priority", "Weight", "Units", "Difficulty", "Accepted", "Refused", "Pending", "Latency", "Last job"];
const HEAT_NOTES = { estimated: "estimated from power", summed: "all loops together" };
const SPOKEN = { tcp: "V1", tls: "V1, TLS", noise: "V2" };

const byId = (id) => document.getElementById(id);
const place = (name) => document.querySelector(`[data-value="${name}"]`);

const site = {};
const units = new Units();
const past = new Past();
const plan = new Plan();
const alarms = new Alarms();
const stops = new Stops();
const trends = {
  heat: heatTrend(byId("heat-chart")),
  share: shareTrend(byId("share-chart")),
  reject: rejectTrend(byId("reject-chart")),
};
let lastAt = null; // performance.now() of the last message
let problem = null; // why there is no connection
let skewS = 0; // server's clock minus ours

// heat

function measured(name, value, unit, why) {
  show(place(name), { ...si(value, unit), why });
}

function showHeat() {
  const heat = site.heat;
  const noDemand = "no valid demand";
  const noMeter = "no meter and no reading of the units";
  show(place("heat_w"), {
    ...si(heat.heat_w, "W"), why: noMeter, quality: heat.heat_w === null ? "unknown" : heat.heat_quality,
    note: heat.heat_w === null ? "" : HEAT_NOTES[heat.heat_quality] ?? "",
  });
  measured("demand_w", heat.demand_w, "W", noDemand);
  const off = heat.tracking_error;
  show(place("tracking_error"), {
    text: percent(off, 1, true), unit: "%", why: heat.demand_w === null ? noDemand : noMeter, abnormal: off !== null && Math.abs(off) > OFF_LIMIT,
  });
  show(place("limiter"), { text: heat.limiter ?? "nothing", abnormal: heat.limiter !== null });
  show(place("heat_quality"), { text: heat.heat_quality, abnormal: heat.heat_quality === "unknown" });
  const hasCycled = heat.cause !== null; // before the first cycle nothing was counted or commanded
  show(place("headroom"), hasCycled ? siPair(heat.headroom_up_w, heat.headroom_down_w, "W") : { text: UNKNOWN, why: "no cycle yet" });
  measured("setpoint_power_w", heat.setpoint_power_w, "W", "no set-point yet");
  measured("commanded_power_w", hasCycled ? heat.commanded_power_w : null, "W", "no cycle yet");
  measured("measured_power_w", heat.measured_power_w, "W", "no unit could be read");
  const water = heat.supply_c === null && heat.return_c === null;
  show(place("water"), { text: water ? UNKNOWN : `${celsius(heat.supply_c)} / ${celsius(heat.return_c)}`, unit: "°C", why: "the meter does not say" });
  show(place("energy"), siPair(heat.demand_energy_wh, heat.heat_energy_wh, "Wh"));
  const price = heat.marginal_price_per_kwh;
  show(place("marginal_price_per_kwh"), { text: price === null ? UNKNOWN : price.toPrecision(3), unit: "per kWh", why: "no unit left to change" });
  show(place("decision"), { text: `${shortTime(heat.decision_s)} / ${shortTime(site.loop_lag_s)}` });
  showGauge(heat);
  showLadder(heat.ladder);
}

function showGauge(heat) {
  const gauge = byId("gauge");
  const top = Math.max(heat.demand_w ?? 0, heat.heat_w ?? 0, (heat.demand_w ?? 0) + heat.headroom_up_w, 1) * 1.02;
  gauge.toggleAttribute("data-unknown", heat.heat_w === null);
  gauge.style.setProperty("--now", (heat.heat_w ?? 0) / top);
  gauge.style.setProperty("--want", heat.demand_w === null ? -1 : heat.demand_w / top);
  gauge.style.setProperty("--low", heat.demand_w === null ? -1 : (heat.demand_w * 0.98) / top);
  gauge.style.setProperty("--wide", ((heat.demand_w ?? 0) * 0.04) / top);
  byId("gauge-end").textContent = `${siText(top, "W")} possible`;
  gauge.setAttribute("aria-label", `Delivered ${siText(heat.heat_w, "W")} of ${siText(heat.demand_w, "W")} asked; the bar ends at ${siText(top, "W")}`);
}

function showLadder(state) {
  for (const rung of byId("ladder").children) {
    if (rung.dataset.rung === state) rung.setAttribute("aria-current", "step");
    else rung.removeAttribute("aria-current");
    rung.dataset.grade = GRADES[rung.dataset.rung] ?? "";
  }
}

// shares and pools

function total(counts) {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

function showShares() {
  const shares = site.shares;
  const part = past.rejectPart(REJECT_WINDOW_S);
  measured("hashrate_hps", site.hashrate_hps, "H/s", "too few shares yet");
  const rate = past.rate(past.accepted).at(-1) ?? null;
  show(place("accepted_rate"), { text: rate === null ? UNKNOWN : rate.toFixed(1), unit: "/s", why: "counting" });
  show(place("reject_part"), { text: percent(part, 2), unit: "%", why: "no shares yet", abnormal: part !== null && part > REJECT_LIMIT });
  show(place("miners_connected"), { text: count(site.miners_connected) });
  show(place("ledger_state"), { text: site.ledger_state, abnormal: site.ledger_state !== "ok" });
  const delta = shares.conservation_delta;
  const parts = [
    ["rejected by us", total(shares.rejected)], ["below the pool's target", shares.below_pool_target], ["accepted", shares.accepted],
    ["refused by pools", total(shares.refused)], ["unknown", total(shares.unknown)], ["pending", shares.pending],
  ];
  const line = byId("conservation");
  line.replaceChildren(el("b", {}, count(shares.received)), " received = ");
  parts.forEach(([name, n], i) => line.append(i ? " + " : "", el("b", {}, count(n)), ` ${name}`));
  line.append(". ", el("span", { class: delta === 0 ? "note" : "abnormal" }, `Difference ${count(delta)}`), shares.blocks ? `. Blocks: ${count(shares.blocks)}` : "");
}

function showPools() {
  byId("pools-empty").hidden = site.pools.length > 0;
  byId("pools-empty").textContent = "No pools configured. Add [[pools]] to the site file.";
  const rows = (pool) => {
    const words = pool.reason ?? (pool.last_message ? `The pool says: ${pool.last_message}` : "");
    const isWell = pool.state === "ready" || pool.state === "off";
    const line = el("tr", {},
      el("th", { scope: "row", title: pool.url }, pool.name),
      el("td", {}, SPOKEN[pool.transport] ?? pool.transport),
      el("td", { class: "live" }, el("span", { class: isWell ? null : "abnormal" }, pool.active ? `${pool.state}, active` : pool.state)),
      el("td", { class: "num" }, String(pool.priority)),
      el("td", { class: "num" }, String(+pool.weight.toPrecision(3))),
      el("td", { class: "num live" }, count(pool.units)),
      el("td", { class: "num live" }, pool.difficulty === null ? UNKNOWN : siText(pool.difficulty, "")),
      el("td", { class: "num live" }, count(pool.accepted)),
      el("td", { class: "num live", title: Object.entries(pool.refused).map(([code, n]) => `${code}: ${n}`).join("\n") || null }, count(total(pool.refused))),
      el("td", { class: "num live" }, count(pool.pending)),
      el("td", { class: "num live" }, shortTime(pool.submit_latency_s)),
      el("td", { class: "num live" }, pool.last_job_age_s === null ? UNKNOWN : `${duration(pool.last_job_age_s)} ago`));
    if (!words) return [line];
    line.classList.add("has-reason");
    return [line, el("tr", { class: "reason" }, el("td", { colspan: String(POOL_COLUMNS.length) }, words))];
  };
  const head = el("tr", {}, ...POOL_COLUMNS.map((name, i) => el("th", { scope: "col", class: i > 2 ? "num" : null }, name)));
  if (site.pools.length) byId("pool-table").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, ...site.pools.flatMap(rows))));
}

// events and notices

function eventLine(event) {
  const facts = Object.entries(event.facts).map(([name, value]) => fact(name, value)).join(", ");
  const abnormal = event.level === "warning" || event.level === "error";
  return el("li", { "data-seq": String(event.seq) },
    el("time", { class: "when", datetime: new Date(event.at_unix_s * 1000).toISOString() }, clock(event.at_unix_s)),
    el("span", { class: abnormal ? "abnormal" : null, title: event.level }, event.name),
    el("span", { class: "facts-line" }, facts));
}

function showEvents(events, isAll) {
  const list = byId("events");
  if (isAll) list.replaceChildren();
  list.prepend(...events.toReversed().map(eventLine));
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
  byId("events-empty").hidden = list.children.length > 0;
  byId("events-empty").textContent = "Nothing happened yet.";
}

function showNotices() {
  const lines = [...(site.problems ?? [])];
  if (problem) lines.unshift(`No connection to the proxy: ${problem}. What stands here is the last that was known.`);
  const node = byId("notices");
  if (node.shown === lines.join("\n")) return;
  node.shown = lines.join("\n");
  node.hidden = lines.length === 0;
  node.replaceChildren(...lines.map((line) => el("p", {}, line)));
}

// freshness: old data stay, and say that they are old

function showAge() {
  const ageS = lastAt === null ? null : (performance.now() - lastAt) / 1000;
  const freshness = ageS === null ? "waiting" : ageS > STALE_S ? "stale" : ageS > LATE_S ? "late" : "live";
  document.body.dataset.freshness = freshness;
  const words = { waiting: "connecting", live: "live", late: `data ${duration(ageS)} old`, stale: `data ${duration(ageS)} old` };
  const text = byId("link-text");
  if (text.textContent !== words[freshness]) text.textContent = words[freshness];
  byId("clock").textContent = clockWithOffset(Date.now() / 1000 + skewS);
  for (const node of document.querySelectorAll("[data-value]")) node.dataset.age = ageS === null ? "" : ageS.toFixed(0);
}

function draw() {
  if (document.hidden || past.t.length === 0) return;
  trends.heat.newest = past.t.length - 1;
  trends.heat.draw(heatData(past, site.heat, site.ahead));
  trends.share.draw([past.t, past.rate(past.accepted)]);
  trends.reject.draw(...rejectData(past));
  plan.draw();
}

function renewCharts() {
  for (const trend of Object.values(trends)) trend.renew();
  plan.renew();
  draw();
}

function take(message) {
  lastAt = performance.now();
  problem = null;
  skewS = message.now_unix_s - Date.now() / 1000;
  Object.assign(site, message.site);
  past.add(message.now_unix_s, site.heat, site.shares);
  byId("site-name").textContent = site.name;
  document.title = `${site.name} - Thermostratum`;
  byId("site-version").textContent = site.version;
  byId("foot-facts").textContent = `Thermostratum ${site.version}, running for ${duration(site.uptime_s)}`;
  showHeat();
  showShares();
  showPools();
  stops.take(site.heat.holds, message.now_unix_s);
  alarms.take(site.alarms, site.loops);
  showRuling(byId("ruling"), site.heat);
  showNext(place("next_demand"), site.ahead, message.now_unix_s);
  showSignals(byId("signals"), byId("signals-empty"), site);
  byId("loops").hidden = site.loops.length === 0 && site.meters.length === 0;
  showLoops(byId("loop-table"), site.loops);
  showMeters(byId("meter-table"), site.meters);
  showProvenNow(place("proven_now"), site.proven_now);
  showProof(place("proof"), byId("proof-table"), site.settlement?.proofs ?? []);
  plan.take(site.plan, message.now_unix_s);
  showNotices();
  showAge();
}

async function loadPast() {
  const response = await request("/api/v1/history");
  if (!response.ok) return;
  past.load(await response.json());
  draw();
}

const stream = new LiveStream({
  snapshot(message) {
    byId("key-form").hidden = true;
    take(message);
    units.reset(message.units, message.now_unix_s);
    units.update([], [], message.now_unix_s);
    showEvents(message.events, true);
    draw();
    loadPast().catch((error) => console.warn("no history", error.message));
  },
  delta(message) {
    take(message);
    units.update(message.units, message.gone, message.now_unix_s);
    if (message.events.length) showEvents(message.events, false);
    draw();
  },
  down(reason) {
    problem = reason;
    showNotices();
  },
  refused(answer) {
    storeKey(null);
    byId("key-form").hidden = false;
    byId("key-problem").textContent = answer.detail;
    byId("link-text").textContent = "key needed";
  },
});

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  storeKey(byId("key-input").value.trim());
  byId("key-input").value = "";
  stream.open();
});

// theme

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
  byId("theme").setAttribute("aria-label", `Theme: ${THEMES[theme]}`);
  localStorage.setItem("thermostratum.theme", theme);
  renewCharts();
}

byId("theme").addEventListener("click", () => {
  const order = Object.keys(THEMES);
  setTheme(order[(order.indexOf(localStorage.getItem("thermostratum.theme") ?? "auto") + 1) % order.length]);
});
const remembered = localStorage.getItem("thermostratum.theme");
setTheme(remembered in THEMES ? remembered : "auto");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renewCharts);

setInterval(showAge, 1000);
stream.open();
