// A running plot of the last points.

const KEEP = 120; // Points: of half a second, a minute.
const HEIGHT = 64;
const TOP = 14;
const BRIDGED = 4; // A slow model has half seconds without a result; two seconds without one are a gap.
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

/** The next "round" number, so that the scale does not tremble: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

export class Plot {
  constructor(place, title, unit, least, span = "last minute") {
    Object.assign(this, { title, unit, least, span, values: [] });
    const caption = document.createElement("div");
    caption.className = "caption";
    const name = document.createElement("span");
    name.textContent = title;
    this.value = document.createElement("b");
    caption.append(name, this.value);
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("role", "img");
    place.append(caption, this.svg);
    this.grid = [0, 1].map(() => element("line", { class: "grid", x1: 0 }, this.svg));
    this.area = element("path", { class: "area" }, this.svg);
    this.line = element("path", { class: "line" }, this.svg);
    this.scale = element("text", { x: 0, y: 10 }, this.svg);
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  clear() {
    this.values = [];
    this.draw();
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > KEEP) this.values.shift();
  }

  show(text) {
    this.value.textContent = text;
  }

  draw() {
    const width = this.svg.clientWidth || 300;
    const known = this.values.filter((value) => value !== null);
    const top = roundUp(Math.max(this.least, ...known));
    const step = width / (KEEP - 1);
    const left = width - (this.values.length - 1) * step;
    const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 1 - TOP);
    let line = "", area = "", run = [];
    const close = () => {
      if (run.length) {
        const points = run.map(([x, at]) => `${x.toFixed(1)},${at.toFixed(1)}`).join("L");
        line += `M${points}`;
        area += `M${run[0][0].toFixed(1)},${HEIGHT - 1}L${points}L${run.at(-1)[0].toFixed(1)},${HEIGHT - 1}Z`;
      }
      run = [];
    };
    let missing = 0;
    this.values.forEach((value, index) => {
      missing = value === null ? missing + 1 : 0;
      if (value !== null) run.push([left + index * step, y(value)]);
      else if (missing > BRIDGED) close();
    });
    close();
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.grid.forEach((one, index) => {
      one.setAttribute("x2", width);
      for (const end of ["y1", "y2"]) one.setAttribute(end, index ? TOP : HEIGHT - 0.5);
    });
    this.scale.textContent = `${top.toLocaleString("en")} ${this.unit}`;
    const range = known.length ? `${format(Math.min(...known))} to ${format(Math.max(...known))}` : "nothing yet";
    this.svg.setAttribute("aria-label", `${this.title}, ${this.span}: ${range} ${this.unit}`);
  }
}

export function format(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
