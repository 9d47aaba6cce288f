"use strict";
// The page of a folder of runs: sorts, filters, shows and compares the cards that are there already.
const $ = (id) => document.getElementById(id);
const { standard, runs } = JSON.parse($("runs").textContent);
const cards = [...document.querySelectorAll("article")];
const run = (card) => runs[card.dataset.run];
let picked = [];

for (const hidden of document.querySelectorAll("#tools, .see, .pick-label")) hidden.hidden = false;
const text = new Map(cards.map((card) => {
  const { prompt, state, settings, models } = run(card);
  return [card, [card.dataset.run, prompt, state, JSON.stringify(settings), Object.values(models).join(" ")].join(" ").toLowerCase()];
}));

function arrange() {
  const order = $("order").value;
  const byText = new Intl.Collator(undefined, { numeric: true }).compare;
  cards.sort((a, b) => {
    const [x, y] = [run(a)[order], run(b)[order]];
    return (order === "prompt" ? byText(x, y) : order === "seed" ? x - y : y - x) || byText(a.dataset.run, b.dataset.run);
  });
  $("cards").append(...cards);
  filter();
}

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = $("state").value;
  let count = 0;
  for (const card of cards) {
    const fits = (!state || run(card).state === state) && words.every((word) => text.get(card).includes(word));
    card.hidden = !fits;
    count += fits;
  }
  $("shown").textContent = count === cards.length ? "" : `${count} shown`;
  $("none").hidden = count > 0;
}

function pick(box) {
  if (box.checked) picked.push(box); else picked = picked.filter((other) => other !== box);
  while (picked.length > 2) picked.shift().checked = false; // the oldest makes way
  for (const card of cards) card.classList.toggle("picked", card.querySelector(".pick").checked);
  $("compare").disabled = picked.length !== 2;
  $("compare").textContent = picked.length === 1 ? "Compare (one more)" : "Compare";
}

const make = (tag, content, more = {}) => Object.assign(document.createElement(tag), { textContent: content ?? "" }, more);

function view(name) {
  const told = runs[name];
  const box = make("figure");
  if (told.glb) box.append(make("iframe", "", { src: `${told.page}#viewer`, title: `3D view of ${told.prompt}` }));
  else box.append(make("p", "This run has no 3D view.", { className: "blank" }));
  const caption = make("figcaption");
  caption.append(make("a", told.prompt, { href: told.page }), make("span", ` seed ${told.seed}`, { className: "soft" }));
  box.append(caption);
  return box;
}

function open(title, names) {
  $("dialog-title").textContent = title;
  $("views").replaceChildren(...names.map(view));
  $("views").className = names.length > 1 ? "two" : "";
  $("differences").replaceChildren(...(names.length > 1 ? [differences(...names.map((name) => runs[name]))] : []));
  $("dialog").showModal();
}

function differences(a, b) {
  const size = (told) => (told.bytes ? `${(told.bytes / 1e6).toFixed(1)} MB` : "–");
  const seconds = (told) => `${told.seconds.toFixed(told.seconds < 10 ? 1 : 0)} s`;
  const rows = [
    ["prompt", a.prompt, b.prompt], ["seed", a.seed, b.seed], ["state", a.state, b.state], ["time", seconds(a), seconds(b)],
    ["peak memory", `${a.memory.toFixed(0)} MB`, `${b.memory.toFixed(0)} MB`], ["GLB", size(a), size(b)],
  ];
  const both = (name) => [...new Set([...Object.keys(a[name]), ...Object.keys(b[name])])];
  const plain = (value) => (value === null ? "null" : typeof value === "object" ? JSON.stringify(value) : String(value));
  for (const name of both("facts")) rows.push([name.replaceAll("_", " "), a.facts[name] ?? "–", b.facts[name] ?? "–"]);
  for (const name of both("stages")) rows.push([`time of ${name}`, a.stages[name] ?? "–", b.stages[name] ?? "–"]);
  for (const name of both("models")) rows.push([name.replaceAll("_", " "), a.models[name] ?? "–", b.models[name] ?? "–"]);
  for (const name of both("settings")) {
    const usual = name in standard ? plain(standard[name]) : "–";
    rows.push([name, a.settings[name] ?? usual, b.settings[name] ?? usual, true]);
  }
  const table = make("table", "", { className: "diff" });
  const head = table.createTHead().insertRow();
  for (const title of ["", "Left", "Right"]) head.append(make("th", title, { scope: "col" }));
  const body = table.createTBody();
  for (const [name, left, right, isSetting] of rows) {
    const row = body.insertRow();
    const title = make("th", "", { scope: "row" });
    title.append(make(isSetting ? "code" : "span", name));
    row.append(title, make("td", left), make("td", right));
    row.className = String(left) === String(right) ? "same" : "other";
  }
  const box = make("div", "", { className: "scroll" });
  box.append(table);
  return box;
}

$("cards").addEventListener("click", (event) => {
  const see = event.target.closest(".see");
  if (see) open(run(see.closest("article")).prompt, [see.closest("article").dataset.run]);
});
$("cards").addEventListener("change", (event) => event.target.matches(".pick") && pick(event.target));
$("compare").addEventListener("click", () => open("Compared", picked.map((box) => box.closest("article").dataset.run)));
$("close").addEventListener("click", () => $("dialog").close());
$("dialog").addEventListener("click", (event) => event.target === $("dialog") && $("dialog").close());
$("dialog").addEventListener("close", () => $("dialog").open || $("views").replaceChildren()); // unseen views cost a GPU
$("search").addEventListener("input", filter);
$("state").addEventListener("change", filter);
$("order").addEventListener("change", arrange);

addEventListener("message", (event) => {
  // What one view of two tells is passed on to the other; nothing but two numbers ever is.
  const frames = [...document.querySelectorAll("#views iframe")];
  const from = frames.find((frame) => frame.contentWindow === event.source);
  const { slipcast, theta, phi } = event.data ?? {};
  if (!from) return;
  if (slipcast === "close") $("dialog").close();
  if (slipcast === "shown") from.dataset.viewer = "shown";
  if (slipcast !== "turned" || !Number.isFinite(theta) || !Number.isFinite(phi)) return;
  for (const frame of frames) if (frame !== from) frame.contentWindow.postMessage({ slipcast: "turn", theta, phi }, "*");
});
filter();
document.documentElement.dataset.ready = "yes";
