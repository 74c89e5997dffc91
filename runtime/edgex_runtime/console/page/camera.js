// This browser's camera → the server: the newest frame as a JPEG whenever the last one was taken.

const QUALITY = 0.85;
const HEADER_BYTES = 32;
const TAKEN_OVER = 4001;
const OLDEST_MS = 2000;
const PAUSE_MS = 1000;

export class Camera {
  /** @param on {changed(running), said(text, bad)} */
  constructor(box, on) {
    Object.assign(this, { box, on, stream: null, socket: null, busy: true, maxSide: 0, told: 0, heard: 0 });
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    this.canvas = document.createElement("canvas");
  }

  get running() {
    return this.stream !== null;
  }

  async start(deviceId) {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.on.said("Browsers lend their camera to https pages and to localhost only: see docs/console.md.", true);
      return;
    }
    const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: "environment" } };
    const video = { ...which, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    try {
      this.stop();
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      this.on.said(refused ? "The camera was not allowed: allow it beside the address, then try again." : `The camera cannot be used: ${error.message}`, true);
      this.on.changed(false);
      return;
    }
    this.stream.getVideoTracks()[0].onended = () => this.stop("The camera was unplugged or taken away.");
    this.video.srcObject = this.stream;
    await this.video.play();
    this.lock = await navigator.wakeLock?.request("screen").catch(() => null);
    this.connect();
    this.next();
    this.on.said("This browser's camera is the source.", false);
    this.on.changed(true);
  }

  stop(why = "") {
    this.stream?.getTracks().forEach((track) => Object.assign(track, { onended: null }).stop());
    this.stream = null;
    this.video.srcObject = null;
    this.lock?.release();
    this.socket?.close();
    this.socket = null;
    this.on.said(why, why !== "");
    this.on.changed(false);
  }

  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((device) => device.kind === "videoinput" && device.deviceId);
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/camera?box=${encodeURIComponent(this.box)}`);
    this.socket = socket;
    this.busy = true;
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.kind === "camera") this.maxSide = message.max_side;
      this.told = message.told;
      this.heard = performance.now();
      this.busy = false;
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      if (event.code === TAKEN_OVER) this.stop("Another browser's camera has taken over.");
      else setTimeout(() => this.running && socket === this.socket && this.connect(), PAUSE_MS);
    };
  }

  next() {
    const again = (now, metadata) => {
      if (!this.running) return;
      if (!this.busy) this.send(captureTime(metadata));
      this.next();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(again);
    else setTimeout(() => again(performance.now(), {}), 1000 / 30);
  }

  async send(captured) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || this.socket?.readyState !== WebSocket.OPEN) return;
    this.busy = true;
    const scale = Math.min(1, this.maxSide / Math.max(width, height));
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.getContext("2d", { alpha: false }).drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const jpeg = await new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", QUALITY));
    const socket = this.socket;
    if (socket?.readyState !== WebSocket.OPEN || !jpeg) return;
    const message = new Uint8Array(HEADER_BYTES + jpeg.size);
    message.set(new Uint8Array(await jpeg.arrayBuffer()), HEADER_BYTES);
    const header = new DataView(message.buffer);
    [captured, performance.now(), this.told, this.heard].forEach((value, index) => header.setFloat64(8 * index, value, true));
    if (socket.readyState === WebSocket.OPEN) socket.send(message);
  }
}

/** When the camera took the frame, by performance.now(); browsers that do not say so get the moment we saw it. */
function captureTime(metadata) {
  const now = performance.now();
  const captured = metadata?.captureTime;
  return captured > now - OLDEST_MS && captured <= now ? captured : now;
}
