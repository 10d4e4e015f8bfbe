// What belongs to one run: heat map, concentric trend and receptive fields.

let shown = null;  // the run that the reader chose
let degrees = null;  // its connections of every input, epoch by epoch; null where its inputs are no image

// Colours ------------------------------------------------------------------------------------------------------------

const sequence = bytes(data.colours.sequence), diverging = bytes(data.colours.diverging);

function colourOf(run) {
  if (data.groups.length <= N_COLOURS) { return `var(--g${data.groups.indexOf(run.group)})`; }
  return run === shown ? "var(--accent)" : "var(--other)";
}

function drawBar(canvas, table) {
  canvas.width = table.length / 3;
  canvas.height = 1;
  const context = canvas.getContext("2d"), picture = context.createImageData(canvas.width, 1);
  for (let i = 0; i < canvas.width; i++) {
    picture.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  }
  context.putImageData(picture, 0, 0);
}

// A colour bar with its ends, the middle and the unit.
function addBar(parent, table, unit) {
  const bar = document.createElement("canvas"), scale = document.createElement("div");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  scale.className = "scale";
  scale.innerHTML = "<span></span><span></span><span></span>";
  parent.append(bar, scale);
  drawBar(bar, table);
  return (low, high, extend) => {
    const [left, middle, right] = scale.children;
    left.textContent = (/min|both/.test(extend) ? "\u2264 " : "") + plain(low);
    middle.textContent = unit;
    right.textContent = (/max|both/.test(extend) ? "\u2265 " : "") + plain(high);
  };
}

// Heat map of the connections per input ------------------------------------------------------------------------------

const map = { figure: figure("Connections per input as an image") };
map.readout = map.figure.querySelector("span");
map.holder = document.createElement("div");
map.holder.className = "map";
map.holder.innerHTML = '<canvas tabindex="0" role="application"></canvas>' +
  '<svg aria-hidden="true"><path/><rect width="1" height="1"/></svg>';
map.canvas = map.holder.querySelector("canvas");
map.figure.append(map.holder);
map.scale = addBar(map.figure, sequence, "connections per input");
map.pixel = null;  // the input that the reader points at

function drawMap(degrees) {
  const { shape: [rows, columns], low, high } = shown.frames, context = map.canvas.getContext("2d");
  const picture = context.createImageData(columns, rows), last = sequence.length / 3 - 1;
  for (let i = 0; i < degrees.length; i++) {
    const shade = Math.floor((last + 1) * (degrees[i] - low) / (high - low));
    const place = 3 * Math.max(0, Math.min(last, shade));
    picture.data[4 * i] = sequence[place];
    picture.data[4 * i + 1] = sequence[place + 1];
    picture.data[4 * i + 2] = sequence[place + 2];
    picture.data[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  map.degrees = degrees;
  readMap();
}

function readMap() {
  const [, columns] = shown.frames.shape, sum = map.degrees.reduce((total, one) => total + one, 0);
  const ends = rangeOf(map.degrees);
  const whole = `${ends[0]} to ${ends[1]}, mean ${plain(sum / map.degrees.length)}`;
  const pointer = map.holder.querySelector("rect");
  pointer.setAttribute("visibility", map.pixel === null ? "hidden" : "visible");
  map.readout.textContent = whole;
  if (map.pixel !== null) {
    const row = Math.floor(map.pixel / columns), column = map.pixel % columns;
    map.readout.textContent = `row ${row}, column ${column}: ${map.degrees[map.pixel]}` + (map.zone
      ? `, ${map.zone[map.pixel] ? "active zone" : "margin"}` : "");
    pointer.setAttribute("x", column);
    pointer.setAttribute("y", row);
  }
  map.canvas.setAttribute("aria-label", `Heat map, ${map.readout.textContent}; the arrow keys read single inputs`);
}

// The border of the active zone along its pixels.
function outline(zone, rows, columns) {
  const inside = (r, c) => r >= 0 && c >= 0 && r < rows && c < columns && zone[r * columns + c];
  let path = "";
  for (let r = 0; r <= rows; r++) {
    for (let c = 0; c <= columns; c++) {
      if (!inside(r, c) !== !inside(r - 1, c)) { path += `M${c} ${r}h1`; }
      if (!inside(r, c) !== !inside(r, c - 1)) { path += `M${c} ${r}v1`; }
    }
  }
  return path;
}

function pointAt(pixel) {
  map.pixel = pixel;
  readMap();
}

map.canvas.addEventListener("pointermove", (event) => {
  const [rows, columns] = shown.frames.shape, box = map.canvas.getBoundingClientRect();
  const row = Math.floor(rows * (event.clientY - box.top) / box.height);
  const column = Math.floor(columns * (event.clientX - box.left) / box.width);
  pointAt(Math.max(0, Math.min(rows - 1, row)) * columns + Math.max(0, Math.min(columns - 1, column)));
});
map.canvas.addEventListener("pointerleave", () => pointAt(null));
map.canvas.addEventListener("focus", () => map.readout.setAttribute("aria-live", "polite"));
map.canvas.addEventListener("blur", () => {
  map.readout.removeAttribute("aria-live");
  pointAt(null);
});
map.canvas.addEventListener("keydown", (event) => {
  const [rows, columns] = shown.frames.shape;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step === undefined) { return; }
  event.preventDefault();
  const start = map.pixel === null ? Math.floor(rows / 2) * columns + Math.floor(columns / 2) : map.pixel;
  const next = map.pixel === null ? start : start + step;
  if (next >= 0 && next < rows * columns) { pointAt(next); }
});

// Concentric trend ---------------------------------------------------------------------------------------------------

const trend = new Chart("Connections per input in centred squares",
  { xLabel: "side of the square (pixels)", tall: true });
const squares = { means: [], range: null };  // of the run shown, at every epoch

// Mean connections per input in the centred squares of side 2, 4, ...; as topology.concentric_trend.
function trendOf(degrees, side) {
  const means = [];
  let sum = 0;
  for (let half = 1; half <= side / 2; half++) {
    const first = side / 2 - half, last = side / 2 + half - 1;
    for (let i = first; i <= last; i++) {
      sum += degrees[first * side + i] + degrees[last * side + i];
      if (i > first && i < last) { sum += degrees[i * side + first] + degrees[i * side + last]; }
    }
    means.push(sum / (4 * half * half));
  }
  return means;
}

function drawTrend(stop) {
  const sides = squares.means[0].map((_, i) => 2 * (shown.frames.noisy + i + 1));
  const now = squares.means[stop], first = squares.means[0];
  const whole = now[now.length - 1];
  trend.show([
    { x: [sides[0], sides[sides.length - 1]], y: [whole, whole], colour: "var(--soft)", dashed: true },
    { x: sides, y: first, colour: "var(--soft)" },
    { x: sides, y: now, colour: "var(--accent)", strong: true },
  ], squares.range);
  trend.readout.textContent = `grey: epoch ${shown.epochs[0]}; dashed: all inputs`;
  trend.svg.setAttribute("aria-label", `Mean connections per input by the side of the square, epoch ` +
    `${shown.epochs[stop]}: ${sides.map((side, i) => `${side}: ${plain(now[i])}`).join(", ")}`);
}

// Receptive fields ---------------------------------------------------------------------------------------------------

const fields = { figure: figure("Weights of the best-connected hidden units") };
fields.readout = fields.figure.querySelector("span");
fields.tiles = document.createElement("div");
fields.tiles.className = "tiles";
fields.tiles.setAttribute("role", "img");
fields.figure.append(fields.tiles);
fields.scale = addBar(fields.figure, diverging, "weight (grey: no connection)");

function drawFields() {
  const found = shown.fields;
  fields.figure.hidden = !found;
  if (!found) { return; }
  const columns = Math.ceil(Math.sqrt(found.units.length));
  fields.tiles.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  fields.tiles.replaceChildren(...found.pictures.map((picture, i) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    image.alt = "";
    image.title = `hidden unit ${found.units[i]}: ${found.fan_in[i]} inputs`;
    return image;
  }));
  const [fewest, most] = rangeOf(found.fan_in);
  fields.readout.textContent = `epoch ${found.epoch}; ${fewest} to ${most} inputs each`;
  fields.tiles.setAttribute("aria-label",
    `Weights into ${found.units.length} hidden units, ${fewest} to ${most} inputs each`);
  fields.scale(-found.limit, found.limit, found.extend);
}
