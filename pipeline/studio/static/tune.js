// The pictures of the tuning page, asked for one after the other; those that were drawn before come at once.
const LOOK_EVERY_MS = 400;
const JSON_PLEASE = { Accept: "application/json" };
const keys = {};

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));

async function told(answer) {
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function draw(figure) {
  const frame = figure.querySelector(".frame");
  const state = figure.querySelector(".state");
  const cell = JSON.parse(figure.dataset.cell);
  try {
    const body = new URLSearchParams(cell);
    let sketch = await told(await fetch("/tune/draw", { method: "POST", body, headers: JSON_PLEASE }));
    while (sketch.state === "waiting" || sketch.state === "drawing") {
      const sentence = sketch.state === "drawing" ? "drawing" : `waits for ${sketch.ahead}`;
      if (state.textContent !== sentence) state.textContent = sentence;
      await pause();
      sketch = await told(await fetch(`/tune/drawn/${sketch.key}`, { headers: JSON_PLEASE }));
    }
    if (sketch.state === "failed") throw new Error(sketch.error);
    const picture = document.createElement("img");
    picture.alt = `${cell.prompt}, ${figure.querySelector("figcaption strong").textContent}`;
    picture.src = sketch.picture;
    frame.append(picture);
    frame.classList.add("done");
    state.textContent = "";
    figure.querySelector(".drawn").innerHTML = sketch.caption; // a template's, escaped
    const side = figure.closest("[data-side]")?.dataset.side;
    if (side) keys[side] = sketch.key;
  } catch (error) {
    frame.classList.add("failed");
    state.textContent = error instanceof TypeError ? "The studio does not answer; start it again, and load this page again." : error.message;
  }
}

async function norms() {
  if (!keys.a && !keys.b) return;
  const drawn = await told(await fetch(`/tune/norms?${new URLSearchParams(keys)}`, { headers: JSON_PLEASE }));
  for (const [side, html] of Object.entries(drawn)) document.querySelector(`[data-norms="${side}"]`).innerHTML = html || "Nothing is pushed.";
}

const figures = [...document.querySelectorAll(".sketch")];
const beside = figures.filter((one) => one.closest("[data-side]"));
for (const figure of beside) await draw(figure);
if (beside.length) await norms().catch(() => {});
for (const figure of figures.filter((one) => !beside.includes(one))) await draw(figure);

document.querySelector('.tuning [aria-invalid="true"]')?.focus();
