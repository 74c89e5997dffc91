// The picture, its label, and what the source is doing: a picture that is not live must not look live.

const WORDS = {
  WAITING: ["Waiting", "no picture has come yet"],
  STALE: ["Stale", "no new picture"],
  RECONNECTING: ["Reconnecting", "the camera was lost"],
  LOST: ["Lost", "the camera was lost and did not come back"],
  ENDED: ["Ended", "the run has ended"],
  PAUSED: ["Paused", "nothing is classified"],
  UNREACHABLE: ["Not connected", "the console cannot be reached"],
  CONNECTING: ["Connecting", ""],
};
const SPOKEN_MS = 2000;

export class Screen {
  constructor(find) {
    this.find = find;
    this.canvas = find("picture");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.spokenAt = 0;
  }

  async paint(jpeg) {
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  caption(picture) {
    const stage = this.find("stage");
    stage.classList.toggle("unknown", picture !== null && !picture.known);
    this.find("label").textContent = picture === null ? "" : picture.known ? picture.label : `unknown (${picture.label}?)`;
    this.find("score").textContent = picture === null ? "" : percent(picture.score);
  }

  /** @param state a source's state, or one of the page's own; its words may be others than those of WORDS. */
  state(state, why, ageMs, title) {
    const stage = this.find("stage");
    if (stage.dataset.state !== state) {
      stage.dataset.state = state;
      this.find("state").textContent = state === "UNREACHABLE" ? "NOT CONNECTED" : state;
    }
    const age = ageMs === null ? "" : duration(ageMs);
    this.find("age").textContent = age;
    const [head, words] = WORDS[state] ?? ["", ""];
    const old = age && ["STALE", "RECONNECTING", "LOST", "UNREACHABLE", "PAUSED"].includes(state) ? `this picture is ${age} old` : "";
    this.find("veil-state").textContent = title ?? head;
    this.find("veil-why").textContent = [why || words, old].filter(Boolean).join(" · ");
    const now = performance.now();
    if (now - this.spokenAt > SPOKEN_MS) {
      this.spokenAt = now;
      const label = this.find("label").textContent;
      this.canvas.setAttribute("aria-label", `Picture, ${state}${label ? `: ${label} ${this.find("score").textContent}` : ""}`);
    }
  }
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

export function duration(ms) {
  if (ms < 999.5) return `${Math.max(ms, 0).toFixed(0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3_600_000 ? `${(ms / 60_000).toFixed(0)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}
