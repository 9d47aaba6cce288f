// A page of parts: they are asked for again while they may change, and those that did are put in their places.
// <div id="live" data-state="ADDRESS" [data-rests]> holds <div data-part data-version> and <p id="spoken">.
const live = document.getElementById("live");
const EVERY_MS = 1500;
let timer = null;
let rests = "rests" in live.dataset;
const placed = [];

/** Call a function with the name of every part that is put in place. */
export const whenPlaced = (told) => placed.push(told);

const known = (one) => [one.tagName, one.getAttribute("href"), one.getAttribute("name"), one.getAttribute("value")].join("|");

function put(name, { html, version }) {
  const there = live.querySelector(`[data-part="${name}"]`);
  const focused = there.contains(document.activeElement) ? known(document.activeElement) : null;
  const open = [...there.querySelectorAll("details")].map((one) => one.open);
  there.innerHTML = html;
  there.dataset.version = version;
  there.querySelectorAll("details").forEach((one, i) => i in open && (one.open = open[i]));
  if (focused !== null) {
    const same = [...there.querySelectorAll("a, button, input, summary")].find((one) => known(one) === focused);
    (same ?? document.getElementById("main")).focus({ preventScroll: true });
  }
  for (const told of placed) told(name);
}

async function look() {
  timer = null;
  const address = new URL(live.dataset.state, location.href);
  for (const one of live.querySelectorAll("[data-part]")) address.searchParams.set(one.dataset.part, one.dataset.version);
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
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

// A picture that went, or is damaged, leaves its ground.
document.addEventListener("error", (event) => event.target.tagName === "IMG" && (event.target.style.visibility = "hidden"), true);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    timer = null;
  } else if (!rests && timer === null) {
    look();
  }
});
plan();
