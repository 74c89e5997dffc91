// The page: takes the server's updates apart, and gives its buttons their work.

import { BoardPanel } from "./board.js";
import { Camera } from "./camera.js";
import { Link } from "./link.js";
import { format, Plot } from "./plot.js";
import { duration, percent, Screen } from "./screen.js";

const EVENTS_SHOWN = 100;
const CLASSES_OFFERED = 40;
const find = (id) => document.getElementById(id);
const screen = new Screen(find);
const agePlot = new Plot(find("age-plot"), "Frame age", "ms", 50);
const ratePlot = new Plot(find("rate-plot"), "Rate", "frames/s", 5);
const board = new BoardPanel(find);

let models = [];
let model = null; // The name of the one that is shown.
let latest = null; // The newest update.
let latestAt = 0;
let shown = null; // The picture on the screen.
let offline = { ended: false, reason: "", now: true };
let source = null;
let explaining = false;
let folders = []; // Classes for which frames were saved.
let boxes = []; // Where a browser's camera is wanted: names of sources.
let camera = null;

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(place, text, bad) {
  find(place).textContent = text;
  find(place).classList.toggle("bad", bad);
}

// What the server says.

const link = new Link({ hello, update, lost });

function hello(content) {
  offline = { ended: false, reason: "", now: false };
  models = content.models;
  model = null;
  agePlot.clear();
  ratePlot.clear();
  board.clear();
  find("events").replaceChildren(make("li", "nothing has happened yet", "empty"));
  find("model").hidden = models.length === 0;
  find("choice").hidden = models.length < 2;
  find("models").replaceChildren(...models.map((one) => Object.assign(make("option", one.name), { value: one.name })));
  find("explain").hidden = !models.some((one) => one.explains);
  find("collect").hidden = content.classes === null;
  folders = content.classes ?? [];
  setUpCamera(content.cameras);
  for (const id of ["pause", "stop"]) find(id).disabled = false;
  if (source !== null) watch();
}

async function update(content, jpeg) {
  if (source !== content.source) {
    source = content.source;
    agePlot.clear();
    ratePlot.clear();
  }
  latest = content;
  latestAt = performance.now();
  if (offline.now) {
    // It was silent for a while, and is back on the same connection.
    offline.now = false;
    for (const id of ["pause", "stop"]) find(id).disabled = false;
  }
  if (jpeg.length) await screen.paint(jpeg);
  if (content.picture !== null) showPicture(content.picture);
  showStatuses(content);
  showPoints(content.points);
  showNotices(content.notices);
  board.show(content.health);
  if (content.model !== model) showModel(content.model);
  find("pause").textContent = content.paused ? "Resume" : "Pause";
  if (explaining) say("told", explainedBy(content), content.trouble !== "");
  refreshState();
}

function lost(ended, reason) {
  offline = { ended: ended || offline.ended, reason, now: true };
  for (const id of ["pause", "stop"]) find(id).disabled = true;
  refreshState();
}

// What is shown.

function refreshState() {
  const status = latest?.statuses.find((one) => one.name === source);
  const age = status?.age_ms ?? null;
  const now = age !== null && status.live ? age + performance.now() - latestAt : age;
  if (offline.now) {
    const why = (offline.ended && status?.why) || offline.reason;
    screen.state(offline.ended ? "ENDED" : latest ? "UNREACHABLE" : "CONNECTING", why, offline.ended ? null : now);
    return;
  }
  if (!status) return;
  const playing = !status.live && status.state === "LIVE";
  const state = latest.paused && ["LIVE", "STALE", "WAITING"].includes(status.state) ? "PAUSED" : playing ? "FILE" : status.state;
  const waits = boxes.includes(source) && ["WAITING", "STALE", "RECONNECTING"].includes(state);
  const ended = status.state === "ENDED" ? "it has come to its end" : "";
  const why = waits ? "no browser sends its camera: use the button below" : status.why || ended;
  screen.state(state, state === "PAUSED" ? "" : why, now, waits ? "No camera" : undefined);
  agePlot.show(now === null ? "–" : duration(now));
}

function showPicture(picture) {
  screen.caption(picture);
  if (shown?.number === picture.number) return;
  shown = picture;
  const list = find("top5");
  while (list.children.length > picture.top5.length || list.firstElementChild?.className === "empty") list.lastElementChild.remove();
  while (list.children.length < picture.top5.length) list.append(bar());
  picture.top5.forEach((best, index) => {
    const [name, share, track] = list.children[index].children;
    name.textContent = best.label;
    name.title = best.label;
    share.textContent = percent(best.score);
    track.firstElementChild.style.width = `${100 * best.score}%`;
  });
  find("preprocess").textContent = picture.times ? `${format(picture.times.preprocess_ms)} ms` : "–";
  find("inference").textContent = picture.times ? `${format(picture.times.inference_ms)} ms` : "–";
}

function bar() {
  const item = make("li");
  const track = make("div", undefined, "track");
  track.append(make("i"));
  item.append(make("span", "", "name"), make("span", "", "share"), track);
  return item;
}

function showStatuses(content) {
  const status = content.statuses.find((one) => one.name === content.source);
  find("frames").textContent = status.frames.toLocaleString("en");
  find("dropped").textContent = status.dropped.toLocaleString("en");
  ratePlot.show(`${status.fps.toFixed(1)} /s`);
  const nav = find("sources");
  nav.hidden = content.statuses.length < 2;
  if (nav.hidden) return;
  while (nav.children.length < content.statuses.length) nav.append(tab());
  content.statuses.forEach((one, index) => {
    const button = nav.children[index];
    button.dataset.source = one.name;
    button.dataset.state = one.state;
    button.setAttribute("aria-pressed", one.name === content.source);
    button.lastElementChild.textContent = one.state === "LIVE" ? one.name : `${one.name} · ${one.state}`;
  });
}

function tab() {
  const button = Object.assign(make("button"), { type: "button" });
  button.append(make("i"), make("span"));
  button.onclick = () => watch(button.dataset.source);
  return button;
}

function showPoints(points) {
  if (!points.length) return;
  for (const point of points) {
    agePlot.add(point.age_ms);
    ratePlot.add(point.fps);
  }
  agePlot.draw();
  ratePlot.draw();
}

function showNotices(notices) {
  const list = find("events");
  for (const notice of notices) {
    if (list.firstElementChild?.className === "empty") list.replaceChildren();
    const item = make("li", undefined, notice.kind === "state" ? notice.text : notice.kind);
    const at = new Date(1000 * notice.at_s);
    const time = make("time", at.toTimeString().slice(0, 8));
    time.dateTime = at.toISOString();
    const words = make("span");
    const where = latest.statuses.length > 1 ? ` · ${notice.source}` : "";
    words.append(make("b", notice.text), make("span", `${{ state: "", error: "" }[notice.kind] ?? ` ${notice.kind}`}${where}`, "kind"));
    item.append(time, words);
    list.prepend(item);
  }
  while (list.children.length > EVENTS_SHOWN) list.lastElementChild.remove();
}

function showModel(name) {
  model = name;
  offerClasses();
  const facts = models.find((one) => one.name === name);
  if (!facts) return;
  find("models").value = name;
  find("title").textContent = facts.title;
  find("engine").textContent = `by ${facts.engine} on ${facts.device}`;
  find("contract").replaceChildren(...facts.contract.flatMap(([key, value]) => [make("dt", key), make("dd", value)]));
  find("evidence").replaceChildren(...(facts.evidence.length ? facts.evidence.map(evidence) : [make("li", "nothing was measured of it", "empty")]));
}

function evidence(item) {
  const made = make("li");
  const head = make("div");
  head.append(make("span", item.stage.replaceAll("_", " ")), make("span", item.passed ? "✓ passed" : "✗ failed", item.passed ? "passed" : "failed"));
  const measured = item.measured.map(([key, value]) => `${key} ${value}`).join(" · ");
  made.append(head, make("p", `${measured} · ${item.images} images`));
  made.append(make("p", item.passed ? item.gate : `${item.gate}: ${item.why}`));
  return made;
}

function explainedBy(content) {
  if (content.trouble) return content.trouble;
  const by = content.picture?.explained_by;
  return by ? `Grad-CAM by ${by}: red is where “${content.picture.label}” is seen.` : "Grad-CAM: the first picture is being explained…";
}

// What the buttons do.

async function ask(place, what, content) {
  try {
    return await link.ask(what, content);
  } catch (error) {
    say(place, error.message, true);
    return null;
  }
}

function watch(name = source) {
  return ask("told", "watch", { source: name, picture: !document.hidden, explain: explaining });
}

document.addEventListener("visibilitychange", () => source !== null && watch());

find("pause").onclick = () => ask("told", latest?.paused ? "resume" : "pause");

find("stop").onclick = () => find("sure").showModal();
find("sure").onclose = () => {
  if (find("sure").returnValue === "yes") ask("told", "stop");
  find("sure").returnValue = "";
};

find("models").onchange = (event) => ask("told", "select", { model: event.target.value });

find("explain").onclick = () => {
  explaining = !explaining;
  find("explain").setAttribute("aria-pressed", explaining);
  say("told", "", false);
  watch();
};

find("save").onsubmit = (event) => {
  event.preventDefault();
  save(find("class").value);
};

async function save(label) {
  if (shown === null) {
    say("saved", "there is no picture to save yet", true);
    return;
  }
  const answer = await ask("saved", "save", { number: shown.number, label });
  if (answer === null) return;
  const { saved } = answer;
  say("saved", `Saved as ${saved.file} · ${saved.count} in ${saved.label}`, false);
  folders = answer.classes;
  offerClasses();
}

function offerClasses() {
  const labels = models.find((one) => one.name === model)?.labels ?? [];
  const known = [...new Set([...folders, ...labels])].slice(0, CLASSES_OFFERED);
  find("classes").replaceChildren(...known.map((name) => Object.assign(make("option"), { value: name })));
  if ([...find("quick").children].map((one) => one.textContent).join("\n") === known.join("\n")) return;
  find("quick").replaceChildren(...known.map((name) => Object.assign(make("button", name), { type: "button", onclick: () => save(name) })));
}

function setUpCamera(wanted) {
  boxes = wanted;
  find("camera").hidden = boxes.length === 0;
  if (camera !== null || boxes.length === 0) return;
  const on = {
    said: (text, bad) => say("told", text, bad),
    changed: async (running) => {
      find("camera").textContent = running ? "Stop this camera" : "Use this camera";
      const devices = running ? await camera.devices() : [];
      find("devices").hidden = devices.length < 2;
      find("device").replaceChildren(...devices.map((one, index) => Object.assign(make("option", one.label || `Camera ${index + 1}`), { value: one.deviceId })));
    },
  };
  // Of several, the one whose source is watched.
  camera = new Camera(boxes[0], on);
  find("camera").onclick = () => {
    if (camera.running) return camera.stop();
    camera.box = boxes.includes(source) ? source : boxes[0];
    return camera.start();
  };
  find("device").onchange = (event) => camera.start(event.target.value);
}

setInterval(refreshState, 200);
