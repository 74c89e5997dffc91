// The board that the run is on: how warm it is, what it takes, and whether it is slowed down. Hidden where it tells nothing.

import { Plot } from "./plot.js";

const SENSORS_SHOWN = 6;
const RAILS_SHOWN = 4;

export class BoardPanel {
  constructor(find) {
    this.find = find;
    this.plot = new Plot(find("heat-plot"), "Temperature", "°C", 50, "last ten minutes");
  }

  clear() {
    this.plot.clear();
    this.find("board").hidden = true;
    this.find("slowed").hidden = true;
  }

  /** @param health what the server says of a reading that this page has not seen; null for none. */
  show(health) {
    if (health === null) return;
    const find = this.find;
    find("board").hidden = false;
    find("heat-plot").hidden = health.hottest === null;
    for (const point of health.points) this.plot.add(point.celsius);
    if (health.hottest !== null) this.plot.show(`${health.hottest.value.toFixed(1)} °C`);
    this.plot.draw();
    const rows = [...health.temperatures]
      .sort((one, other) => other.value - one.value)
      .slice(0, SENSORS_SHOWN)
      .map((one) => [one.name, `${one.value.toFixed(1)} °C`]);
    rows.push(...health.powers.slice(0, RAILS_SHOWN).map((one) => [one.name, `${one.value.toFixed(2)} W`]));
    if (health.clock) rows.push(["clock limit", health.clock]);
    if (health.throttling) rows.push(["throttling", health.throttling]);
    find("readings").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
    find("slowed").hidden = health.slowed.length === 0;
    find("slowed").textContent = `The board is slowed down: ${health.slowed.join(", ")}. Frames take longer than on a cool board with a good supply.`;
    find("slowed-before").textContent = health.before.length ? `Before, since its start: ${health.before.join(", ")}.` : "";
  }
}

function element(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}
