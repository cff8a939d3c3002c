
"use strict";
const held = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 36rem)");
const paper = matchMedia("print");
const page = 640; /* pixels of a plot on paper: A4 and letter have room for them */
const printing = () => paper.matches || "print" in document.documentElement.dataset;
const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (i) => (i === null || i === undefined ? value("--faint") : value("--c" + i));

function translucent(hex) {
  const whole = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
  const part = (i) => parseInt(whole.slice(i, i + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},0.18)`;
}

function painted(trace) {
  const asked = trace.meta.colour;
  const found = Object.assign({}, trace);
  const paint = Array.isArray(asked) ? asked.map(colour) : colour(asked);
  if (trace.meta.band) found.fillcolor = translucent(paint);
  else if (trace.line) found.line = Object.assign({}, trace.line, { color: paint });
  if (trace.marker) found.marker = Object.assign({}, trace.marker, { color: paint });
  if (trace.error_x) found.error_x = Object.assign({}, trace.error_x, { color: value("--ink") });
  return found;
}

function axis(given) {
  return Object.assign({ gridcolor: value("--line"), zerolinecolor: value("--faint"), linecolor: value("--line") }, given);
}

function laid(given) {
  const layout = Object.assign({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: value("--ink"), family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 },
    margin: { l: 8, r: 12, t: 8, b: 8 }, hovermode: "closest", dragmode: narrow.matches ? false : "zoom",
    hoverlabel: { align: "left", namelength: -1, bgcolor: value("--card"), font: { color: value("--ink") } },
  }, given);
  layout.legend = Object.assign({ orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, given.legend);
  layout.xaxis = axis(given.xaxis);
  const ticks = given.xaxis && given.xaxis.tickvals;
  if (narrow.matches && ticks && ticks.length > 4) {
    const every = Math.ceil(ticks.length / 4);
    for (const name of ["tickvals", "ticktext"]) {
      if (given.xaxis[name]) layout.xaxis[name] = given.xaxis[name].filter((_, i) => i % every === 0);
    }
  }
  layout.yaxis = axis(given.yaxis);
  const lines = (given.shapes || []).map((shape) => Object.assign({}, shape, { line: Object.assign({ width: 1.5, color: value("--ink") }, shape.line) }));
  layout.shapes = lines;
  if (printing()) layout.width = page;
  return layout;
}

const look = { responsive: true, displaylogo: false, displayModeBar: false };

function draw() {
  for (const [id, plot] of Object.entries(held.plots)) {
    Plotly.react(id, plot.data.map(painted), laid(plot.layout), look);
  }
}

/* sliders: everything is looked up in what was computed beforehand */

const sliders = [...document.querySelectorAll("input.axis")];

function index(axes, at) {
  return axes.reduce((flat, axis) => flat * held.what_if.axes[axis].values.length + at[axis], 0);
}

function curve(at) {
  const given = held.what_if.curve;
  const along = given.x.map((_, i) => index(given.axes, [i, ...at.slice(1)]));
  const line = (name, keep, dash) => ({
    type: "scatter", mode: "lines+markers", name, meta: { colour: 0 }, x: given.x,
    y: along.map((k, i) => (keep(i) ? given.y[k] : null)), line: { dash, width: 2 }, marker: { size: 5 }, hoverinfo: "x+y",
  });
  const ok = along.map((k) => given.ok[k]);
  const last = ok.lastIndexOf(1);
  const traces = [line("fits", (i) => ok[i] === 1, "solid")];
  if (ok.includes(0)) traces.push(line("does not fit", (i) => ok[i] === 0 || i === last, "dot"));
  traces.push({
    type: "scatter", mode: "markers", name: "here", meta: { colour: 1 }, x: [given.x[at[0]]], y: [given.y[along[at[0]]]],
    marker: { size: 13, symbol: "diamond" }, hoverinfo: "x+y",
  });
  Plotly.react("what-if-curve", traces.map(painted), laid(given.layout), look);
}

function show() {
  const { axes, numbers, verdict } = held.what_if;
  const at = sliders.map((slider) => Number(slider.value));
  sliders.forEach((slider, i) => {
    const told = axes[i].values[at[i]];
    slider.setAttribute("aria-valuetext", told);
    document.getElementById(slider.id.replace("if-", "at-")).textContent = told;
  });
  const good = verdict.good[index(verdict.axes, at)] === 1;
  const line = document.getElementById("if-verdict");
  line.textContent = verdict.figures[index(verdict.axes, at)];
  line.className = "verdict-line " + (good ? "yes" : "no");
  numbers.forEach((number, i) => {
    const where = index(number.axes, at);
    const figure = document.getElementById("number-" + i);
    figure.textContent = number.figures[where];
    document.getElementById("note-" + i).textContent = number.notes[where];
    figure.closest(".card").classList.toggle("off", !good);
  });
  if (held.what_if.curve) curve(at);
}

if (held.what_if) {
  sliders.forEach((slider) => slider.addEventListener("input", show));
  show();
  document.getElementById("if-reset").addEventListener("click", () => {
    sliders.forEach((slider, i) => { slider.value = held.what_if.axes[i].start; });
    show();
  });
}

/* commands to copy: file:// has no clipboard of its own in every browser */

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    const chosen = getSelection();
    chosen.selectAllChildren(text);
    let copied = false;
    try { await navigator.clipboard.writeText(text.textContent); copied = true; } catch { copied = document.execCommand("copy"); }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

function drawn() {
  draw();
  if (held.what_if && held.what_if.curve) show();
  if (!printing()) for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
}

if (typeof Plotly !== "undefined") {
  draw();
  for (const query of [dark, narrow, paper]) query.addEventListener("change", drawn);
  addEventListener("beforeprint", () => { document.documentElement.dataset.print = ""; drawn(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.print; drawn(); });
}
