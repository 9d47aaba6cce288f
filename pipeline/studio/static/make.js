// The form: what the slider says, text areas as tall as their text, and what becomes of a chosen picture.
for (const knob of document.querySelectorAll("input[data-shows]")) {
  const shown = document.getElementById(knob.dataset.shows);
  knob.addEventListener("input", () => (shown.value = knob.value));
}

for (const area of document.querySelectorAll("textarea")) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  };
  area.addEventListener("input", fit);
  if (area.value) fit();
}

const picture = document.getElementById("picture");
const without = document.querySelector('[name="without_picture"]');

function offer() {
  const lifts = picture.files.length > 0 || (without !== null && !without.checked);
  document.getElementById("to-draw").hidden = lifts;
  document.getElementById("to-lift").hidden = !lifts;
}

without?.addEventListener("change", offer);
picture.addEventListener("change", () => {
  offer();
  document.getElementById("chosen")?.remove();
  const [file] = picture.files;
  if (!file) return;
  const shown = document.createElement("img");
  shown.id = "chosen";
  shown.className = "new-picture";
  shown.alt = "The picture that you chose";
  shown.src = URL.createObjectURL(file);
  shown.addEventListener("load", () => URL.revokeObjectURL(shown.src));
  picture.before(shown);
});

document.querySelector('.make [aria-invalid="true"]')?.focus();
offer();
