// Who asks for heat and who rules: the rung of the ladder in words, each way a utility can ask, and what comes next.

import { UNKNOWN, celsius, clock, count, duration, el, show, si, siText } from "./format.js";

const CURVE = "curve"; // the source's name when the site's own heat curve rules

function asked(power_w, supply_c) {
  const parts = [];
  if (power_w !== null) parts.push(siText(power_w, "W"));
  if (supply_c !== null) parts.push(`${celsius(supply_c)} °C`);
  return parts.join(", ") || UNKNOWN;
}

function sentence(heat) {
  const who = heat.source === CURVE ? "the heat curve" : heat.source;
  const since = heat.stale_s === null ? "no valid demand" : `no valid demand for ${duration(heat.stale_s)}`;
  switch (heat.ladder) {
    case "LIVE":
      if (heat.stale_s > 0) return ["Live", `: the demand of ${who} ended ${duration(heat.stale_s)} ago; its renewal may be late`];
      return ["Live", `: ${who ?? "nobody"} rules, for ${duration(heat.demand_valid_for_s)} more`];
    case "HOLD":
      return heat.source === null ? ["Hold", ": nobody has asked for heat yet; units stay as they are"] : ["Hold", `: ${since}; what ${who} asked last goes on`];
    case "FALLBACK":
      return ["Fallback", `: ${since}; the heat curve or the agreed power rules`];
    case "LIMIT":
      return ["Limit", `: ${since}; only the power that is safe for days`];
    default:
      return ["Stop", `: everything sleeps; ${heat.cause ?? "cause unknown"}`];
  }
}

/** The rung of the ladder, who rules, and why. */
export function showRuling(node, heat) {
  const [rung, words] = sentence(heat);
  if (node.shown === rung + words) return;
  node.shown = rung + words;
  node.classList.toggle("abnormal", heat.ladder !== "LIVE");
  node.replaceChildren(el("b", {}, rung), words);
}

/** The demand that waits for its time and comes next. */
export function showNext(node, ahead, nowS) {
  const next = ahead.find((block) => block.start_unix_s > nowS);
  if (!next) return show(node, { text: "none waits" });
  const value = next.power_w === null ? { text: celsius(next.supply_c), unit: "°C" } : si(next.power_w, "W");
  return show(node, { ...value, note: `at ${clock(next.start_unix_s, false)}${ahead.length > 1 ? `, ${count(ahead.length - 1)} more` : ""}` });
}

function word(signal, heat, nowS) {
  const isValid = signal.asked_until_unix_s !== null && signal.asked_until_unix_s > nowS && signal.asked_from_unix_s <= nowS;
  if (signal.source !== null && signal.source === heat.source && isValid) return heat.ladder === "LIVE" ? "rules" : "valid, not yet in force";
  return signal.connected ? "there" : "not there";
}

function line(signal, heat, nowS) {
  const facts = [];
  if (signal.sequence !== null) {
    const isOver = signal.asked_until_unix_s <= nowS;
    facts.push(`${isOver ? "asked" : "asks"} ${asked(signal.asked_w, signal.asked_supply_c)} until ${clock(signal.asked_until_unix_s)} (no. ${signal.sequence})`);
  } else facts.push("has asked nothing yet");
  facts.push(signal.message_age_s === null ? "never heard" : `heard ${duration(signal.message_age_s)} ago`);
  if (signal.is_alive !== null) facts.push(signal.is_alive ? "alive counter moves" : "alive counter stands still");
  if (signal.refused > 0) facts.push(`${count(signal.refused)} refused`);
  const isWell = signal.connected && signal.is_alive !== false;
  const name = signal.source !== null && signal.source !== signal.name ? `${signal.name}, ${signal.source}` : signal.name;
  return el("li", {},
    el("div", { class: "name" }, el("b", { title: signal.peer }, name), el("span", { class: isWell ? null : "abnormal" }, word(signal, heat, nowS))),
    el("div", { class: "note" }, facts.join("; ")),
    signal.connected || !signal.reason ? null : el("div", { class: "note" }, signal.reason));
}

/** Every way a utility can ask: whether it is there, when it was heard, and what it asked last. */
export function showSignals(node, empty, site) {
  empty.hidden = site.signals.length > 0;
  empty.textContent = "Nobody can ask: configure [signals].";
  node.replaceChildren(...site.signals.map((signal) => line(signal, site.heat, site.now_unix_s)));
}
