// What a page does by itself: copy a command, choose a moment, draw curves, say when nothing comes.
// Everything else is made by the server. No eval, no style attributes: the policy forbids both.
"use strict";

const WINDOW_SECONDS = 300;

function prepareCopying(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

const JUDGE_AFTER_MS = 400; // arrow keys move the slider again and again

let judging = 0;

// What stood there is about another moment: no command of it may be typed any more.
function forgetJudgement(words) {
  const place = document.getElementById("judged");
  place.innerHTML = "<p class=\"dim\"></p>";
  place.firstChild.textContent = words;
}

// The moment of the slider, as commands take it.
function chooseMoment(slider) {
  const begin = Number(slider.dataset.begin), end = Number(slider.dataset.end);
  const at = begin + (end - begin) * slider.value / slider.max;
  const moments = JSON.parse(slider.dataset.moments);
  const last = moments[moments.length - 1][1];
  const chosen = slider.value === slider.max ? Math.min(at, last) : at;
  const reached = moments.some(([first, final]) => first <= chosen && chosen <= final);
  const text = new Date(chosen * 1000).toISOString();
  document.getElementById("moment-shown").value = text;
  slider.setAttribute("aria-valuetext", reached ? text : `${text}, out of reach`);
  document.getElementById("out-of-reach").hidden = reached;
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "moment" && event.target.id !== "moment-shown") return;
  if (event.target.id === "moment") chooseMoment(event.target);
  clearTimeout(judging);
  document.getElementById("go-back").dispatchEvent(new Event("htmx:abort"));
  forgetJudgement("Ask what would happen: the commands for it come then.");
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "moment") return;
  clearTimeout(judging);
  judging = setTimeout(() => document.getElementById("go-back")?.requestSubmit(), JUDGE_AFTER_MS);
});

document.addEventListener("submit", (event) => {
  if (event.target.id === "go-back") forgetJudgement("Looking at the history, and at who uses it …");
});

const short = (number) => number.toFixed(number < 10 ? 2 : 0);

// Curves: differences of counters that the server tells every second.
class Curves {
  constructor() {
    this.before = null;
    this.at = []; this.read = []; this.written = []; this.latency = [];
    this.throughput = this.plot("throughput", ["--accent", "--wait"]);
    this.time = this.plot("latency", ["--accent"]);
    addEventListener("resize", () => this.resize());
  }

  plot(name, colours) {
    const place = document.getElementById(name);
    const look = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable);
    const clock = (_, moments) => moments.map((each) => new Date(each * 1000).toISOString().slice(11, 19));
    const axis = { stroke: () => look("--dim"), grid: { stroke: () => look("--line"), width: 1 }, ticks: { show: false } };
    const series = colours.map((colour) => ({
      stroke: () => look(colour), width: 2, points: { show: false }, spanGaps: true,
    }));
    return new uPlot({
      width: place.clientWidth, height: 170, legend: { show: false }, cursor: { show: false },
      scales: { x: { range: (_, first, last) => [last - WINDOW_SECONDS, last] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 0.1)] } },
      axes: [{ ...axis, values: clock, space: 80, size: 30 }, { ...axis, size: 48 }], series: [{}, ...series],
    }, [[], ...colours.map(() => [])], place);
  }

  // False after a time in which nothing could be shown: its place is another one then.
  get stands() { return this.throughput.root.isConnected; }

  resize() {
    if (!this.stands) return;
    for (const plot of [this.throughput, this.time]) {
      plot.setSize({ width: plot.root.parentElement.clientWidth, height: 170 });
    }
  }

  add(now) {
    const before = this.before;
    this.before = now;
    if (!before || now.at <= before.at) return;
    const seconds = now.at - before.at, requests = now.requests - before.requests;
    if (requests < 0) return; // another gate
    const mebibytes = (name) => Math.max(0, now[name] - before[name]) / seconds / 1048576;
    this.at.push(now.at);
    this.read.push(mebibytes("read_bytes"));
    this.written.push(mebibytes("written_bytes"));
    this.latency.push(requests ? Math.max(0, now.served_ms - before.served_ms) / requests : null);
    while (this.at[0] < now.at - WINDOW_SECONDS) {
      for (const list of [this.at, this.read, this.written, this.latency]) list.shift();
    }
    this.throughput.setData([this.at, this.read, this.written]);
    this.time.setData([this.at, this.latency]);
    const last = this.at.length - 1, wait = this.latency[last];
    document.getElementById("throughput-now").textContent =
      `${short(this.read[last])} / ${short(this.written[last])}`;
    document.getElementById("latency-now").textContent =
      now.held ? `${now.in_flight} wait` : wait === null ? "idle" : `${wait.toFixed(2)} ms`;
  }
}

const QUIET_MS = 40000; // more than two signs of life
const AGAIN_MS = 2000;
const SILENT = "The dashboard does not answer: this may be old.";
const ANEW = "The dashboard was started anew: open the address that it printed then.";
const LATE = "There is no answer yet: this may be old.";
const FULL = "Too many pages are open: this one does not change by itself.";

// What the dashboard and the API behind it say now: "" is well.
async function asked() {
  const place = document.querySelector(".brand").href;
  try {
    const answer = await fetch(`${place}answers`);
    if (answer.status === 401) return ANEW;
    return (await answer.json()).answers ? "" : LATE;
  } catch {
    return SILENT;
  }
}

// Says so when nothing comes any more, and looks anew when it would come again.
class Connection {
  constructor(live) {
    this.said = document.getElementById("connection");
    this.heard = Date.now();
    this.ended = false;
    live.addEventListener("htmx:sse:after:message", (event) => {
      this.heard = Date.now();
      this.show({ late: LATE, full: FULL }[event.detail.message.event] ?? "");
    });
    live.addEventListener("htmx:sse:error", (event) => this.show(event.detail.status === 401 ? ANEW : SILENT));
    live.addEventListener("htmx:sse:close", (event) => { this.ended ||= event.detail.reason === "message"; });
    document.addEventListener("visibilitychange", () => { this.heard = Date.now(); });
    setInterval(() => this.watch(), AGAIN_MS);
  }

  async watch() {
    if (this.ended || document.hidden || Date.now() - this.heard < QUIET_MS) return;
    const words = await asked();
    if (words) this.show(words);
    else location.reload();
  }

  show(words) {
    if (this.said.textContent === words) return; // once, for who hears it
    this.said.textContent = words;
    this.said.hidden = !words;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  prepareCopying(document);
  if (document.querySelector("[data-again]")) {
    setInterval(async () => { if (!await asked()) location.reload(); }, AGAIN_MS);
  }
  const live = document.querySelector("[data-live]");
  if (!live) return;
  new Connection(live);
  let curves = null;
  live.addEventListener("figures", (event) => {
    if (!document.getElementById("throughput")) return; // it comes with the next part
    if (!curves?.stands) curves = new Curves();
    curves.add(JSON.parse(event.detail.data));
  });
});

document.addEventListener("htmx:after:swap", () => {
  prepareCopying(document);
  const slider = document.getElementById("moment");
  if (slider && !slider.hasAttribute("aria-valuetext")) chooseMoment(slider);
});
