// The connection to the server: opens again when it is lost, and answers for each update when it has been shown.

const SILENCE_MS = 3000; // The server says something every half second.
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 4000;
const RUN_ENDED = 1001;

export class Link {
  /** @param on {hello(content), update(content, jpeg) -> Promise, lost(ended, reason)} */
  constructor(on) {
    this.on = on;
    this.requests = new Map();
    this.turn = Promise.resolve();
    this.nextRequest = 1;
    this.pauseMs = FIRST_PAUSE_MS;
    this.heardAt = 0;
    this.open();
    setInterval(() => this.check(), 500);
  }

  open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => {
      for (const request of this.requests.values()) request.reject(new Error("the connection was lost"));
      this.requests.clear();
      this.on.lost(event.code === RUN_ENDED, event.reason);
      setTimeout(() => this.open(), this.pauseMs);
      this.pauseMs = Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS);
    };
  }

  async take(socket, data) {
    this.heardAt = performance.now();
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.kind === "hello") {
        this.pauseMs = FIRST_PAUSE_MS;
        this.on.hello(message);
      } else if (message.kind === "answer") {
        const request = this.requests.get(message.request);
        this.requests.delete(message.request);
        if (message.error) request?.reject(new Error(message.error));
        else request?.resolve(message);
      }
      return;
    }
    const length = new DataView(data).getUint32(0);
    const content = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    // One after the other: a picture takes longer to unpack than what comes after it without one.
    const shown = this.turn.then(() => this.on.update(content, new Uint8Array(data, 4 + length)));
    this.turn = shown.catch(() => {});
    try {
      await shown;
    } finally {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: "seen", number: content.number }));
    }
  }

  check() {
    const silent = performance.now() - this.heardAt > SILENCE_MS;
    if (silent && this.socket.readyState === WebSocket.OPEN) this.on.lost(false, "the console does not answer");
  }

  /** Ask the server to do something. Resolves with its answer; rejects with an Error that says why not. */
  ask(what, content = {}) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new Error("the console cannot be reached"));
        return;
      }
      const request = this.nextRequest++;
      this.requests.set(request, { resolve, reject });
      this.socket.send(JSON.stringify({ do: what, request, ...content }));
    });
  }
}
