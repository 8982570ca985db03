// The live connection: a snapshot, then numbered deltas, by fetch() so that a key can go in a header. Knows nothing of the page.

const SILENCE_MS = 8000; // the server speaks every second
const RETRY_MS = [500, 1000, 2000, 5000, 10000];
const KEY_NAME = "thermostratum.key";

export function storedKey() {
  return sessionStorage.getItem(KEY_NAME);
}

export function storeKey(key) {
  if (key) sessionStorage.setItem(KEY_NAME, key);
  else sessionStorage.removeItem(KEY_NAME);
}

export function request(path, options = {}, key = storedKey()) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

export class LiveStream {
  /** handlers: snapshot(message), delta(message), down(reason), refused(problem) */
  constructor(handlers) {
    this.handlers = handlers;
    this.attempt = 0;
    this.lastAt = 0;
    this.controller = null;
    this.timer = null;
    setInterval(() => this.watch(), 1000);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && performance.now() - this.lastAt > 3000) this.reconnect("page shown again");
    });
    window.addEventListener("online", () => this.reconnect("network is back"));
  }

  /** Start now, or again. */
  open() {
    clearTimeout(this.timer);
    this.controller?.abort();
    this.controller = new AbortController();
    this.lastAt = performance.now();
    this.run(this.controller);
  }

  reconnect(reason) {
    this.attempt = 0;
    this.handlers.down(reason);
    this.open();
  }

  watch() {
    if (this.controller && !this.timer && performance.now() - this.lastAt > SILENCE_MS) this.retry(this.controller, "no data");
  }

  retry(controller, reason) {
    if (controller !== this.controller) return; // an older connection, already replaced
    controller.abort();
    this.handlers.down(reason);
    const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
    this.attempt += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.timer = null; this.open(); }, wait);
  }

  async run(controller) {
    this.timer = null;
    let seq = null;
    try {
      const response = await request("/events", { signal: controller.signal, headers: { Accept: "text/event-stream" } });
      if (response.status === 401 || response.status === 429) {
        this.controller = null;
        this.handlers.refused(await response.json());
        return;
      }
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      for await (const { kind, message } of messages(response.body)) {
        if (controller !== this.controller) return;
        this.lastAt = performance.now();
        if (kind === "snapshot") {
          this.attempt = 0;
          this.handlers.snapshot(message);
        } else if (seq !== null && message.seq === seq + 1) {
          this.handlers.delta(message);
        } else {
          throw new Error("a message was missed");
        }
        seq = message.seq;
      }
      throw new Error("the server closed the connection");
    } catch (error) {
      if (controller.signal.aborted) return;
      this.retry(controller, error instanceof TypeError ? "the server does not answer" : error.message);
    }
  }
}

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
      const block = held.slice(0, end);
      held = held.slice(end + 2);
      const field = (name) => block.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      if (field("data")) yield { kind: field("event"), message: JSON.parse(field("data")) };
    }
  }
}
