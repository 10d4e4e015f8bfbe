"use strict";
// The numbers of the page, and line charts of them. Everything is drawn from the page itself; nothing is fetched.
// report_maps.js and report.js follow in the same script.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const byId = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const N_COLOURS = 7;  // as many groups as a reader tells apart

// Numbers in and out -------------------------------------------------------------------------------------------------

function bytes(text) {
  const letters = atob(text), found = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) { found[i] = letters.charCodeAt(i); }
  return found;
}

// One typed array for each epoch of a run; little-endian, as are all machines with a browser.
function degreesOf(run) {
  const kinds = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };
  const all = new kinds[run.frames.bits](bytes(run.frames.degrees).buffer);
  const n = run.frames.shape[0] * run.frames.shape[1];
  return run.frames.epochs.map((_, frame) => all.subarray(frame * n, (frame + 1) * n));
}

function rangeOf(values, ends = [Infinity, -Infinity]) {
  for (const value of values) { ends = [Math.min(ends[0], value), Math.max(ends[1], value)]; }
  return ends;
}

const minus = (text) => text.replace("-", "\u2212");
const signed = (value) => (value < 0 ? "" : "+") + minus(value.toFixed(1));
const plain = (value) => minus(String(Number.isInteger(value) ? value : Number(value.toPrecision(4))));
const percent = (value) => minus((100 * value).toFixed(1)) + "%";

// The value at an epoch, or at the last one before it that was measured.
function at(series, epoch) {
  let found;
  if (series) {
    for (let i = 0; i < series.epochs.length && series.epochs[i] <= epoch; i++) { found = series.values[i]; }
  }
  return found;
}

function ticks(low, high, most) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) { found.push(k * step); }
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// A chart ------------------------------------------------------------------------------------------------------------

// lines: { x, y, colour, strong, dashed }; the range of y may be wider than the lines.
class Chart {
  constructor(title, options) {
    this.options = options;
    this.figure = figure(title);
    this.readout = this.figure.querySelector("span");
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("class", "chart" + (options.onPick ? " linked" : ""));
    this.svg.setAttribute("role", "img");
    this.figure.append(this.svg);
    this.lines = [];
    this.epoch = null;
    if (options.onPick) {
      const pick = (event) => {
        if (event.buttons || event.type === "pointerdown") { options.onPick(this.valueAt(event)); }
      };
      this.svg.addEventListener("pointerdown", pick);
      this.svg.addEventListener("pointermove", pick);
    }
    new ResizeObserver(() => { if (this.svg.clientWidth !== this.width) { this.draw(); } }).observe(this.svg);
  }

  show(lines, range) {
    this.lines = lines;
    this.range = range;
    this.draw();
  }

  draw() {
    this.width = this.svg.clientWidth;
    if (!this.width) { return; }
    const height = Math.round(this.options.tall ? this.width + 8 : Math.min(300, Math.max(200, 0.68 * this.width)));
    this.box = { left: 46, right: this.width - 8, top: 8, bottom: height - 36 };
    this.svg.setAttribute("height", height);
    const [x, y] = this.ends = this.limits();
    this.scale = (value) => this.box.left + (this.box.right - this.box.left) * (value - x[0]) / (x[1] - x[0]);
    this.up = (value) => this.box.bottom - (this.box.bottom - this.box.top) * (value - y[0]) / (y[1] - y[0]);
    this.svg.innerHTML = this.frame(x, y) + this.curves() + '<g class="cursor"></g>';
    this.cursor = this.svg.lastElementChild;
    this.move(this.epoch, this.values);
  }

  limits() {
    let x = this.options.epochs, y = this.range;
    for (const line of this.lines) {
      x = rangeOf(line.x, x);
      y = rangeOf(line.y, y);
    }
    if (x[0] === x[1]) { x = [x[0], x[0] + 1]; }
    if (!y) { y = [0, 1]; }
    const pad = 0.05 * (y[1] - y[0]) || Math.abs(y[0]) * 0.05 || 0.5;
    return [x, [y[0] - pad, y[1] + pad]];
  }

  frame(x, y) {
    const { left, right, top, bottom } = this.box, parts = [];
    if (this.options.band) {
      const high = this.up(data.threshold), low = this.up(-data.threshold);
      parts.push(`<rect class="band" x="${left}" width="${right - left}" y="${high}" height="${low - high}"/>`);
    }
    const rows = ticks(y[0], y[1], Math.min(7, (bottom - top) / 26)), columns = ticks(x[0], x[1], (right - left) / 40);
    for (const value of rows.values) {
      const text = this.options.percent ? `${(100 * value).toFixed(Math.max(0, rows.digits - 2))}%`
        : value.toFixed(rows.digits);
      const kind = this.options.band && Math.abs(value) < 1e-9 ? "zero" : "grid";
      parts.push(`<line class="${kind}" x1="${left}" x2="${right}" y1="${this.up(value)}" y2="${this.up(value)}"/>`,
        `<text x="${left - 6}" y="${this.up(value) + 4}" text-anchor="end">${minus(text)}</text>`);
    }
    for (const value of columns.values.filter(Number.isInteger)) {
      parts.push(`<text x="${this.scale(value)}" y="${bottom + 16}" text-anchor="middle">${value}</text>`);
    }
    parts.push(`<text x="${(left + right) / 2}" y="${bottom + 32}" text-anchor="middle">${this.options.xLabel}</text>`);
    return parts.join("");
  }

  curves() {
    return this.lines.map((line) => {
      const points = Array.from(line.x, (x, i) => `${this.scale(x).toFixed(1)} ${this.up(line.y[i]).toFixed(1)}`);
      const style = `stroke:${line.colour};stroke-width:${line.strong ? 2.5 : 1.2};opacity:${line.strong ? 1 : 0.55};` +
        (line.dashed ? "stroke-dasharray:5 4;" : "");
      // a single value is a dot: a line of no length with a round end
      const end = points.length === 1 ? "h0" : "";
      return points.length ? `<path d="M${points.join("L")}${end}" style="${style}stroke-linecap:round"/>` : "";
    }).join("");
  }

  // Put the upright line at an epoch, with a dot at each of these values.
  move(epoch, values) {
    [this.epoch, this.values] = [epoch, values];
    if (!this.cursor || epoch === null) { return; }
    const x = this.scale(epoch);
    this.cursor.innerHTML = `<line x1="${x}" x2="${x}" y1="${this.box.top}" y2="${this.box.bottom}"/>` +
      values.map((value) => `<circle cx="${x}" cy="${this.up(value)}" r="3.5"/>`).join("");
  }

  valueAt(event) {
    const place = event.clientX - this.svg.getBoundingClientRect().left;
    const [low, high] = this.ends[0];
    return low + (high - low) * (place - this.box.left) / (this.box.right - this.box.left);
  }
}

function figure(title) {
  const made = document.createElement("figure");
  made.innerHTML = "<figcaption><strong></strong><span></span></figcaption>";
  made.querySelector("strong").textContent = title;
  byId("figures").append(made);
  return made;
}
