// Proof of heat: whether validated work, electricity, the units' own word and heat told the same story in the newest settled period.

import { UNKNOWN, clock, el, percent, show, siText } from "./format.js";

const COLUMNS = ["Scope", "Verdict", "Work proves (95 %)", "Electricity", "Units say", "Heat", "Furthest apart"];
const NUMBERS_FROM = 2;
const METERED = ["measured", "summed"];

function interval(proof) {
  if (proof.work_wh === null) return UNKNOWN;
  const half = proof.work_high_wh === null ? "" : ` \u00b1 ${percent((proof.work_high_wh - proof.work_wh) / Math.max(proof.work_wh, 1), 1)} %`;
  return `${siText(proof.work_wh, "Wh")}${half}`;
}

/** A cell; what no meter showed has a sign before it, and says so. */
function energy(wh, quality) {
  const isMetered = wh === null || METERED.includes(quality);
  return el("td", { class: "num live", title: isMetered ? null : quality }, isMetered ? siText(wh, "Wh") : `\u2248 ${siText(wh, "Wh")}`);
}

function row(proof) {
  const verdict = proof.agrees === null ? "too little known" : proof.agrees ? "agrees" : "disagrees";
  const apart = proof.disagreement === null ? UNKNOWN : `${percent(Math.abs(proof.disagreement), 1)} % (\u00b1 ${percent(proof.interval, 1)})`;
  const line = el("tr", {},
    el("th", { scope: "row" }, proof.scope),
    el("td", { class: "live" }, el("span", { class: proof.agrees === false ? "abnormal" : null }, verdict)),
    el("td", { class: "num live" }, interval(proof)),
    energy(proof.electric_wh, proof.electric_quality),
    el("td", { class: "num live" }, siText(proof.reported_wh, "Wh")),
    energy(proof.heat_wh, proof.heat_quality),
    el("td", { class: "num live", title: proof.between }, apart));
  if (!proof.cause) return [line];
  line.classList.add("has-reason");
  return [line, el("tr", { class: "reason" }, el("td", { colspan: String(COLUMNS.length) }, proof.cause))];
}

/** What shares prove now of the power that the same units say, with its interval; a whole that lies outside is abnormal. */
export function showProvenNow(node, now) {
  if (now === null) {
    show(node, { text: UNKNOWN, why: "no unit is settled for long enough" });
    return;
  }
  const half = percent((now.work_high_w - now.work_low_w) / 2 / Math.max(now.work_w, 1), 1);
  const isWithin = now.work_low_w <= now.says_w && now.says_w <= now.work_high_w;
  const part = now.units < now.of_units ? ` of ${siText(now.says_w, "W")} (${now.units} units)` : "";
  show(node, { text: siText(now.work_w, "W"), note: `\u00b1 ${half} %${part}`, abnormal: !isWithin });
}

/** What disagrees most goes into `node`, every scope into `table`. */
export function showProof(node, table, proofs) {
  const newest = proofs[0];
  document.getElementById("proof-period").textContent = newest
    ? `${clock(newest.start_unix_s, false)} to ${clock(newest.start_unix_s + newest.period_s, false)}` : "";
  table.hidden = proofs.length === 0;
  if (!table.hidden) {
    const head = el("tr", {}, ...COLUMNS.map((name, i) => el("th", { scope: "col", class: i >= NUMBERS_FROM ? "num" : null }, name)));
    table.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, ...proofs.flatMap(row))));
  }
  const judged = proofs.filter((proof) => proof.agrees !== null);
  const worst = judged.find((proof) => proof.agrees === false) ?? judged[0];
  node.title = worst?.cause ?? "";
  if (worst === undefined) {
    show(node, { text: UNKNOWN, why: proofs.length ? "too little is known to judge" : "no period is settled yet" });
    return;
  }
  const apart = `${percent(Math.abs(worst.disagreement), 1)} %`;
  const text = worst.agrees ? `agrees within ${apart}` : `${worst.scope}: ${worst.between} differ by ${apart}`;
  show(node, { text, abnormal: !worst.agrees });
}
