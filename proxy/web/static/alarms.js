// Standing alarms, most severe first, and the one thing to be done about them here: acknowledge what is over. What stands stays.

import { duration, el } from "./format.js";
import { request, storedKey } from "./stream.js";

const byId = (id) => document.getElementById(id);

function line(alarm) {
  const age = alarm.age_s === null ? "" : duration(alarm.age_s);
  return el("li", {},
    el("span", { class: alarm.is_over ? "note" : "abnormal", "data-severity": String(alarm.severity ?? "") }, alarm.text),
    el("span", { class: "note" }, alarm.is_over ? "over, not acknowledged" : age));
}

export class Alarms {
  constructor() {
    this.shown = null;
    byId("acknowledge").addEventListener("submit", (event) => {
      event.preventDefault();
      this.acknowledge().catch((error) => this.say(`Not acknowledged: ${error.message}`));
    });
  }

  take(alarms, loops) {
    const standing = alarms.filter((alarm) => !alarm.is_over).length;
    const locked = loops.filter((loop) => loop.is_locked).length;
    byId("alarm-panel").hidden = alarms.length === 0 && locked === 0;
    byId("acknowledge").hidden = standing === alarms.length && locked === 0;
    byId("alarm-count").textContent = standing === alarms.length ? String(standing) : `${standing} stand, ${alarms.length - standing} over`;
    const shown = JSON.stringify(alarms.map((alarm) => [alarm.text, alarm.is_over, Math.round((alarm.age_s ?? 0) / 10)]));
    if (this.shown === shown) return;
    this.shown = shown;
    byId("alarms").replaceChildren(...alarms.map(line));
  }

  say(text) {
    byId("acknowledge-note").textContent = text;
  }

  /** The key is used for this one call and forgotten: the page of a night shift keeps no operator's key. */
  async acknowledge() {
    const field = byId("acknowledge-key");
    const key = field.value.trim();
    field.value = "";
    const response = await request("/api/v1/heat/alarms/acknowledge", { method: "POST" }, key || storedKey());
    const answer = await response.json();
    const needsKey = response.status === 401 || response.status === 403;
    for (const node of [field, field.labels[0]]) node.hidden = !needsKey;
    if (response.ok) this.say(answer.acknowledged.length ? "" : "Nothing was over.");
    else this.say(answer.detail);
    if (needsKey) field.focus();
  }
}
