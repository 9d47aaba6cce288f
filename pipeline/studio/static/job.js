// A job's page: its parts are asked for again while they may change, and those that did are put in their places.
import { showModel } from "./model.js";

const job = document.getElementById("job");
const EVERY_MS = 1500;
let timer = null;
let rests = "rests" in job.dataset;

function put(part, { html, version }) {
  const there = job.querySelector(`[data-part="${part}"]`);
  const within = there.contains(document.activeElement) ? document.activeElement : null;
  const told = within && [within.tagName, within.getAttribute("name"), within.getAttribute("value"), within.textContent];
  const open = [...there.querySelectorAll("details")].map((one) => one.open);
  there.innerHTML = html;
  there.dataset.version = version;
  there.querySelectorAll("details").forEach((one, i) => i in open && (one.open = open[i]));
  if (told) {
    const same = [...there.querySelectorAll(told[0])].find(
      (one) => one.getAttribute("name") === told[1] && one.getAttribute("value") === told[2] && one.textContent === told[3],
    );
    (same ?? document.getElementById("main")).focus({ preventScroll: true });
  }
  if (part === "result") showModel();
}

async function look() {
  timer = null;
  const known = new URLSearchParams();
  for (const one of job.querySelectorAll("[data-part]")) known.set(one.dataset.part, one.dataset.version);
  try {
    const answer = await fetch(`${job.dataset.state}?${known}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const told = await answer.json();
    for (const [name, part] of Object.entries(told.parts)) put(name, part);
    const spoken = document.getElementById("spoken");
    if (spoken.textContent !== told.spoken) spoken.textContent = told.spoken;
    rests = told.rests;
    document.documentElement.classList.remove("gone");
  } catch {
    document.documentElement.classList.add("gone"); // the server ended; a new one goes on, and so does this page
  }
  plan();
}

function plan() {
  if (timer === null && !rests && !document.hidden) timer = setTimeout(look, EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    timer = null;
  } else if (!rests) {
    look();
  }
});

// Candidates by their numbers, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  job.querySelector(`.gallery button[data-key="${CSS.escape(event.key)}"]`)?.focus();
});

showModel();
plan();
