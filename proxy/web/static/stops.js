// Emergency stops that are held, and the way out for a person: one is released at a time, with his name and why it is safe.
// Who may do it, and whether it was done, the proxy says.

import { duration, el } from "./format.js";
import { request, storedKey } from "./stream.js";

const byId = (id) => document.getElementById(id);

export class Stops {
  constructor() {
    this.ages = new Map(); // source: the node with its age
    this.source = null; // whose stop the form is about
    byId("release").addEventListener("submit", (event) => {
      event.preventDefault();
      this.release().catch((error) => this.say(`Not released: ${error.message}`));
    });
    byId("release-cancel").addEventListener("click", () => this.close());
  }

  take(holds, nowUnixS) {
    const stops = holds.filter((hold) => hold.kind === "stop");
    byId("stop-panel").hidden = stops.length === 0;
    if (this.source !== null && !stops.some((stop) => stop.source === this.source)) this.close();
    const sources = stops.map((stop) => stop.source);
    if (sources.join("\n") !== [...this.ages.keys()].join("\n")) this.list(sources);
    for (const stop of stops) this.ages.get(stop.source).textContent = `for ${duration(nowUnixS - stop.since_unix_s)}`;
  }

  /** Only when whose stops they are has changed: a button that is replaced loses the keyboard's focus. */
  list(sources) {
    this.ages = new Map(sources.map((source) => [source, el("span", { class: "note" })]));
    byId("stops").replaceChildren(...sources.map((source) => {
      const button = el("button", { type: "button" }, "Release\u2026");
      button.setAttribute("aria-label", `Release the stop of ${source}`);
      button.addEventListener("click", () => this.open(source));
      return el("li", {}, el("span", { class: "abnormal", "data-severity": "3" }, `held by ${source}`), this.ages.get(source), button);
    }));
  }

  open(source) {
    this.source = source;
    byId("release-whose").textContent = source;
    byId("release").hidden = false;
    this.say("");
    byId("release-name").focus();
  }

  close() {
    this.source = null;
    byId("release").reset();
    byId("release").hidden = true;
    this.askKey(false);
    this.say("");
  }

  say(text) {
    byId("release-note").textContent = text;
  }

  askKey(isAsked) {
    byId("release-who").hidden = !isAsked;
    if (isAsked) byId("release-key").focus();
  }

  /** The key is used for this one call and forgotten: the page of a night shift keeps no operator's key. */
  async release() {
    const field = byId("release-key");
    const key = field.value.trim();
    field.value = "";
    const source = this.source;
    const body = JSON.stringify({ source, name: byId("release-name").value.trim(), reason: byId("release-reason").value.trim() });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    const response = await request("/api/v1/heat/stop/release", options, key || storedKey());
    if (this.source !== source) return; // cancelled, or gone, or another one meanwhile
    if (response.ok) {
      this.close();
      return;
    }
    const answer = await response.json();
    this.say(answer.detail);
    this.askKey(response.status === 401 || response.status === 403);
  }
}
