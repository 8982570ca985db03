// Which units deviate, worst first, and in which words: what somebody with one walk through the hall should look at.

import { count, duration, el, percent, siText, stateWord } from "./format.js";

const SHOWN = 6;
const OFF_LIMIT = 0.15; // off by less is the error of the model and of the machine's own reading
const UNDER_WAY_S = 900; // waking and ramping take minutes, not quarter hours
const LEAST_W = 100;
const BROKEN = 3;
const SILENT = 2;
const UNDER_WAY = ["WAKING", "RAMPING"];

/** Part by which a unit draws more or less than it was told; null while it is on its way, out of service or unknown. */
export function deviation(unit) {
  if (unit.power_w === null || unit.power_commanded_w === null || unit.in_service || UNDER_WAY.includes(unit.state)) return null;
  return (unit.power_w - unit.power_commanded_w) / Math.max(unit.power_commanded_w, LEAST_W);
}

/** [rank, words] of a unit that deviates, null of one that does not. The higher the rank, the earlier it is named. */
export function trouble(unit, nowS) {
  if (unit.in_service) return null; // somebody is at it already
  if (unit.fault !== null || unit.state === "FAULT" || unit.state === "LOCKED_OUT") return [BROKEN, unit.fault ?? stateWord(unit.state)];
  const silentS = unit.reading_at_unix_s === null ? null : nowS - unit.reading_at_unix_s;
  if (unit.state === "OFFLINE" || unit.power_w === null) return [SILENT, silentS === null ? "never answered" : `silent for ${duration(silentS)}`];
  if (unit.doubt) return [SILENT, unit.doubt];
  const sinceS = nowS - unit.state_at_unix_s;
  if (UNDER_WAY.includes(unit.state) && sinceS > UNDER_WAY_S) return [1, `${stateWord(unit.state)} for ${duration(sinceS)}`];
  const part = deviation(unit);
  if (part === null || Math.abs(part) < OFF_LIMIT) return null;
  return [Math.min(0.99, Math.abs(part)), `${siText(unit.power_w, "W")} instead of ${siText(unit.power_commanded_w, "W")} (${percent(part, 0, true)} %)`];
}

/** The worst few as buttons that open the unit; how many more there are stands behind them. */
export function showWatch(node, units, nowS, open) {
  const found = [];
  for (const unit of units) {
    const known = trouble(unit, nowS);
    if (known) found.push([known[0], unit.id, known[1]]);
  }
  found.sort((a, b) => b[0] - a[0] || a[1].localeCompare(b[1], "en", { numeric: true }));
  const lines = found.slice(0, SHOWN).map(([rank, id, words]) => [id, words, rank > 1]);
  const shown = JSON.stringify([lines, found.length]);
  if (node.shown === shown) return;
  node.shown = shown;
  node.hidden = lines.length === 0;
  const focused = document.activeElement?.dataset?.watch;
  const items = lines.map(([id, words, isBad]) => {
    const button = el("button", { type: "button", "data-watch": id }, el("span", { class: isBad ? "abnormal" : null }, id), `: ${words}`);
    button.addEventListener("click", () => open(id));
    return el("li", {}, button);
  });
  if (found.length > SHOWN) items.push(el("li", { class: "note" }, `and ${count(found.length - SHOWN)} more: sort the table by deviation`));
  node.replaceChildren(el("li", { class: "note" }, "Look at first:"), ...items);
  if (focused) node.querySelector(`[data-watch="${CSS.escape(focused)}"]`)?.focus();
}
