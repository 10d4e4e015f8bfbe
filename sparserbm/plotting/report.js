// The curves of all runs, the choice of run and epoch, the table, and the numbers as files.

// Curves over the epochs ---------------------------------------------------------------------------------------------

const measured = runs.flatMap((run) => [run.epochs, ...Object.values(run.series).map((series) => series.epochs)]);
const epochs = rangeOf(measured.flat());

const charts = data.panels.map((panel) => {
  const chart = new Chart(panel.title, {
    xLabel: "epoch", epochs, band: panel.band, percent: panel.percent,
    onPick: (epoch) => { stopPlaying(); goTo(epoch); },
  });
  return Object.assign(chart, { panel });
});

function drawCharts() {
  const order = runs.filter((run) => run !== shown).concat(shown);  // the run shown lies on top
  for (const chart of charts) {
    const lines = [];
    for (const run of order) {
      if (chart.panel.kind && run.kind !== chart.panel.kind) { continue; }
      for (const { key, dashed } of chart.panel.lines) {
        const series = run.series[key];
        if (series) {
          lines.push({ x: series.epochs, y: series.values, colour: colourOf(run), strong: run === shown, dashed });
        }
      }
    }
    chart.show(lines, chart.panel.band ? [-data.threshold, data.threshold] : undefined);
  }
}

// Move a chart to an epoch and write what the run shown has there.
function readChart(chart, epoch) {
  const { kind, lines, band } = chart.panel, write = chart.panel.percent ? percent : band ? signed : plain;
  const other = kind && shown.kind !== kind;
  const found = lines.map((line) => ({ ...line, value: other ? undefined : at(shown.series[line.key], epoch) }))
    .filter(({ value }) => value !== undefined);
  chart.move(epoch, found.map(({ value }) => value));
  const texts = found.map(({ name, dashed, value }) => `${name}${dashed ? " (dashed)" : ""} ${write(value)}`);
  chart.readout.textContent = other ? `the run shown is no ${kind.toUpperCase()}`
    : !texts.length ? "not measured in the run shown, or not yet"
    : texts.join(", ") + (band ? `; grey: no verdict, |z| < ${data.threshold}` : "");
  chart.svg.setAttribute("aria-label", `${chart.panel.title} over the epochs, all runs; the run shown at epoch ` +
    `${epoch}: ${chart.readout.textContent}`);
}

// Run and epoch ------------------------------------------------------------------------------------------------------

const choice = byId("run"), slider = byId("epoch"), now = byId("now"), play = byId("play");
let timer = null;  // while it plays

function choose(place) {
  const epoch = shown && shown.epochs.length ? shown.epochs[slider.value] : Infinity;
  shown = runs[place];
  choice.value = place;
  degrees = shown.frames ? degreesOf(shown) : null;
  map.figure.hidden = !degrees;
  trend.figure.hidden = !degrees || shown.frames.noisy === null;
  if (degrees) {
    const { shape: [rows, columns], zone, low, high, extend } = shown.frames;
    map.zone = zone && bytes(zone);
    map.pixel = null;
    [map.canvas.width, map.canvas.height] = [columns, rows];
    const svg = map.holder.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    svg.querySelector("path").setAttribute("d", map.zone ? outline(map.zone, rows, columns) : "");
    map.scale(low, high, extend);
  }
  if (!trend.figure.hidden) {
    squares.means = degrees.map((one) => trendOf(one, shown.frames.shape[0]).slice(shown.frames.noisy));
    squares.range = rangeOf(squares.means.flat());
  }
  drawFields();
  drawCharts();
  byId("missing").replaceChildren(...shown.missing.map((reason) => item(`Not drawn: ${reason}`)));
  for (const row of byId("results").tBodies[0].rows) {
    row.toggleAttribute("aria-current", Number(row.querySelector("button").dataset.run) === place);
  }
  slider.max = Math.max(0, shown.epochs.length - 1);
  slider.disabled = play.disabled = shown.epochs.length < 2;
  goTo(epoch);
}

function goTo(epoch) {
  const distances = shown.epochs.map((one) => Math.abs(one - Math.min(epoch, shown.epochs[shown.epochs.length - 1])));
  slider.value = Math.max(0, distances.indexOf(Math.min(...distances)));
  show();
}

function show() {
  const stop = Number(slider.value), epoch = shown.epochs[stop];
  if (epoch === undefined) {
    now.textContent = "nothing measured";
    return;
  }
  const z = at(shown.series.z, epoch);
  const verdict = z > data.threshold ? "positive" : z < -data.threshold ? "negative" : "none";
  const text = `epoch ${epoch}` + (z === undefined ? "" : `, z ${signed(z)} (${verdict})`);
  now.textContent = text;
  slider.setAttribute("aria-valuetext", text);
  if (degrees) { drawMap(degrees[stop]); }
  if (!trend.figure.hidden) { drawTrend(stop); }
  charts.forEach((chart) => readChart(chart, epoch));
}

function stopPlaying() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
  now.setAttribute("aria-live", "polite");
}

function startPlaying() {
  if (slider.value === slider.max) { slider.value = 0; show(); }
  play.textContent = "Pause";
  now.setAttribute("aria-live", "off");  // or a screen reader would not come to an end
  const wait = calm.matches ? 1000 : Math.max(60, Math.min(400, 12000 / shown.epochs.length));
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    if (slider.value === slider.max) { stopPlaying(); }
    show();
  }, wait);
}

function item(text) {
  const made = document.createElement("li");
  made.textContent = text;
  return made;
}

choice.append(...runs.map(({ name, group }, place) => new Option(name === group ? name : `${group} (${name})`, place)));
choice.addEventListener("change", () => { stopPlaying(); choose(Number(choice.value)); });
slider.addEventListener("input", () => { stopPlaying(); show(); });
play.addEventListener("click", () => { if (timer) { stopPlaying(); } else { startPlaying(); } });

function legend(text, colour) {
  const entry = item(text), mark = document.createElement("span");
  mark.style.background = colour;
  entry.prepend(mark);
  byId("legend").append(entry);
}

if (data.groups.length > N_COLOURS) {
  legend("the run shown", "var(--accent)");
  legend("the others", "var(--other)");
} else if (data.groups.length > 1) {
  data.groups.forEach((group, number) => legend(group, `var(--g${number})`));
}

// Table of runs ------------------------------------------------------------------------------------------------------

const table = byId("results"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];

// A number where the cell has one, else its text; undefined where nothing was measured.
function valueOf(cell) {
  if (cell.dataset.value !== undefined) { return Number(cell.dataset.value); }
  return cell.textContent === "\u2013" ? undefined : cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") { return a - b; }
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(head) {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1, column = heads.indexOf(head);
  heads.forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const keyed = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
  keyed.sort(([a], [b]) => {
    if (a === undefined || b === undefined) { return (a === undefined) - (b === undefined); }  // always last
    return sign * compare(a, b);
  });
  body.append(...keyed.map(([, row]) => row));
}

table.tHead.addEventListener("click", (event) => {
  if (event.target.closest("button")) { sortBy(event.target.closest("th")); }
});
body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) { return; }
  stopPlaying();
  choose(Number(button.dataset.run));
  byId("epochs").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
  slider.focus({ preventScroll: true });
});
byId("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  let left = 0;
  for (const row of body.rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    left += row.hidden ? 0 : 1;
  }
  byId("count").textContent = `${left} of ${runs.length} runs`;
});

// The numbers as files -----------------------------------------------------------------------------------------------

function csv(rows) {
  const quoted = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return rows.map((row) => Array.from(row, (value) => quoted(String(value ?? ""))).join(",") + "\r\n").join("");
}

const results = () => [...body.rows].map((row) => [...row.cells].map(valueOf));

function runsTable() {
  return csv([heads.map((head) => head.textContent), ...results()]);
}

function epochsTable() {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.series)))], rows = [["run", "epoch", ...keys]];
  for (const run of runs) {
    const lines = new Map();
    for (const [key, series] of Object.entries(run.series)) {
      series.epochs.forEach((epoch, i) => {
        if (!lines.has(epoch)) { lines.set(epoch, {}); }
        lines.get(epoch)[key] = series.values[i];
      });
    }
    for (const epoch of [...lines.keys()].sort((a, b) => a - b)) {
      rows.push([run.name, epoch, ...keys.map((key) => lines.get(epoch)[key])]);
    }
  }
  return csv(rows);
}

function degreesTable() {
  const n = degrees ? degrees[0].length : 0;
  const rows = (degrees || []).map((one, stop) => [shown.epochs[stop], ...one]);
  return csv([["epoch", ...Array.from({ length: n }, (_, i) => `input ${i}`)], ...rows]);
}

function everything() {
  const names = heads.map((head) => head.textContent);
  const table = results().map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
  const all = runs.map((run) => {
    const { name, group, kind, study, settings, series, frames } = run;
    const zone = frames && frames.zone && Array.from(bytes(frames.zone));
    const images = frames && {
      image_shape: frames.shape, epochs: frames.epochs,
      connections_per_input: degreesOf(run).map((one) => Array.from(one)),
      active_zone: zone && zone.flatMap((inside, input) => (inside ? [input] : [])),
    };
    return { name, group, kind, study, settings, series, ...images };
  });
  return JSON.stringify({ title: data.title, table, runs: all });
}

for (const [id, type, make] of [
  ["save-runs", "text/csv", runsTable], ["save-epochs", "text/csv", epochsTable],
  ["save-degrees", "text/csv", degreesTable], ["save-all", "application/json", everything],
]) {
  byId(id).addEventListener("click", () => {  // the file is made when it is asked for
    URL.revokeObjectURL(byId(id).href);
    byId(id).href = URL.createObjectURL(new Blob([make()], { type }));
  });
}

choose(0);
