"""What every page of ours is held to, and pictures of it for whoever wants to look."""

import os
from pathlib import Path

from chromium import Browser

# Where pictures of the page go: EDGEX_SCREENSHOTS=/tmp/shots pytest tests/console
SHOTS = os.environ.get("EDGEX_SCREENSHOTS")

# WCAG's contrast of every text with what is behind it; the picture's own captions lie on a shade and are left out.
CONTRAST = """
(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *:not(#stage *):not(svg *):not(:disabled)")]
    .filter((one) => one.checkVisibility())
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => {
      const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
      return [one.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
})()
"""


def shoot(browser: Browser, name: str) -> None:
    """Take a picture of the page, where that was asked for."""
    if SHOTS:
        browser.screenshot(Path(SHOTS) / f"{name}.png")
