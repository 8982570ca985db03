// Numbers to text. An unknown value is "--" and never 0; every number has its unit.

export const UNKNOWN = "--";

const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

function digits(value) {
  const size = Math.abs(value);
  if (size > 0 && size < 0.01) return value.toPrecision(2);
  return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2);
}

/** {text, unit} with an SI prefix; null stays unknown. */
export function si(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return { text: UNKNOWN, unit: "" };
  if (value === 0) return { text: "0", unit };
  const [factor, prefix] = PREFIXES.find(([limit]) => Math.abs(value) >= limit * 0.9995) ?? PREFIXES.at(-1);
  return { text: digits(value / factor), unit: prefix + unit };
}

/** Two values in the unit of the larger: "2.22 / 2.20" and "MWh". */
export function siPair(a, b, unit) {
  const most = Math.max(Math.abs(a ?? 0), Math.abs(b ?? 0));
  const [factor, prefix] = PREFIXES.find(([limit]) => most >= limit * 0.9995) ?? PREFIXES.at(-1);
  const one = (value) => (value === null || value === undefined ? UNKNOWN : digits(value / factor));
  return { text: `${one(a)} / ${one(b)}`, unit: prefix + unit };
}

/** si() as one string, for labels and table cells. */
export function siText(value, unit) {
  const { text, unit: shown } = si(value, unit);
  return shown ? `${text} ${shown}` : text;
}

const FACT_UNITS = { _w: (v) => siText(v, "W"), _wh: (v) => siText(v, "Wh"), _hps: (v) => siText(v, "H/s"), _c: (v) => `${celsius(v)} °C`, _s: shortTime };

/** One fact of an event: its name says its unit, so "setpoint_w 1355391.7" becomes "setpoint 1.36 MW". */
export function fact(name, value) {
  if (value === null) return `${name.replaceAll("_", " ")} ${UNKNOWN}`;
  if (typeof value !== "number") return `${name.replaceAll("_", " ")} ${value}`;
  const unit = Object.keys(FACT_UNITS).find((ending) => name.endsWith(ending) && !name.endsWith("_unix_s"));
  if (unit) return `${name.slice(0, -unit.length).replaceAll("_", " ")} ${FACT_UNITS[unit](value)}`;
  return `${name.replaceAll("_", " ")} ${Number.isInteger(value) ? value : +value.toPrecision(4)}`;
}

export function percent(part, places = 1, signed = false) {
  if (part === null || part === undefined || !Number.isFinite(part)) return UNKNOWN;
  const value = part * 100;
  const text = value.toFixed(places);
  return signed && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

export function celsius(value) {
  return value === null || value === undefined ? UNKNOWN : value.toFixed(1);
}

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : value.toLocaleString("en").replaceAll(",", "\u202f");
}

/** A short time: "4.1 ms", "0.35 s" below a minute, in words above. */
export function shortTime(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
  if (seconds >= 60) return duration(seconds);
  return seconds < 0.9995 ? `${digits(seconds * 1000)} ms` : `${digits(seconds)} s`;
}

/** A duration in the two largest units that say something: "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
  const s = Math.max(0, Math.round(seconds));
  const two = (large, small, per, names) => {
    const rest = Math.floor((s % large) / small);
    return `${Math.floor(s / large)} ${names[0]}${rest ? ` ${rest} ${names[1]}` : ""}`;
  };
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(60, 1, 60, ["min", "s"]);
  if (s < 86400) return two(3600, 60, 60, ["h", "min"]);
  return two(86400, 3600, 24, ["d", "h"]);
}

export function clock(unixS, withSeconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (withSeconds) options.second = "2-digit";
  return new Date(unixS * 1000).toLocaleTimeString("en-GB", options);
}

/** Local time with its offset: a control room never guesses whose time it reads. */
export function clockWithOffset(unixS) {
  const minutes = -new Date(unixS * 1000).getTimezoneOffset();
  const sign = minutes < 0 ? "-" : "+";
  const two = (n) => String(Math.trunc(Math.abs(n))).padStart(2, "0");
  return `${clock(unixS)} UTC${sign}${two(minutes / 60)}:${two(minutes % 60)}`;
}

const STATE_WORDS = {
  OFFLINE: "offline", IDLE: "idle", WAKING: "waking", RAMPING: "ramping", RUN: "running", CALIBRATING: "calibrating",
  SLEEPING: "asleep", FAULT: "fault", SERVICE: "in service", LOCKED_OUT: "locked out",
};

export function stateWord(state) {
  return STATE_WORDS[state] ?? state.toLowerCase().replaceAll("_", " ");
}

/** Make an element: el("td", {class: "num"}, "12", child...). Text is always text, never markup. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Show a value in its place: text, unit, why it is unknown, whether it is abnormal. Touches the page only when something changed. */
export function show(node, { text, unit = "", why = "", note = "", abnormal = false, quality }) {
  const known = text !== UNKNOWN;
  const state = [text, unit, why, note, abnormal, quality].join("\u0000");
  if (node.shown === state) return;
  node.shown = state;
  node.dataset.unit = unit;
  node.dataset.quality = quality ?? (known ? "good" : "unknown");
  node.classList.toggle("abnormal", abnormal);
  node.replaceChildren(text);
  if (unit && known) node.append(el("span", { class: "unit" }, unit));
  if (!known && why) node.append(el("span", { class: "why" }, why));
  if (note) node.append(el("span", { class: "unit" }, note));
}
