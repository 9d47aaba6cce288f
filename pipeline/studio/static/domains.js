// Pictures to learn from: too many or too large is said before they are sent, and that they are being sent.
for (const form of document.querySelectorAll("form.sending")) {
  const input = form.querySelector("input[type=file]");
  const field = input.closest(".field");
  const button = form.querySelector("button");

  function tell(sentence) {
    let told = document.getElementById("pictures-error");
    if (!told) {
      told = document.createElement("p");
      told.id = "pictures-error";
      told.className = "error";
      field.append(told);
    }
    told.textContent = sentence;
    field.classList.toggle("wrong", Boolean(sentence));
    input.setAttribute("aria-invalid", String(Boolean(sentence)));
    input.setAttribute("aria-describedby", "pictures-error");
    if (sentence) input.focus();
  }

  form.addEventListener("submit", (event) => {
    const files = [...input.files];
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const most = Number(form.dataset.mostBytes);
    let wrong = "";
    if (!files.length) wrong = "Choose the pictures first.";
    else if (files.length > Number(form.dataset.mostFiles)) wrong = `These are ${files.length} files; send at most ${form.dataset.mostFiles} at once, and the rest after them.`;
    else if (bytes > most) wrong = `These are ${Math.round(bytes / 1e6)} MB together; send at most ${most / 1e6} MB at once, and the rest after them.`;
    tell(wrong);
    if (wrong) {
      event.preventDefault();
      return;
    }
    button.textContent = files.length === 1 ? "Sending 1 picture" : `Sending ${files.length} pictures`;
    button.setAttribute("aria-busy", "true");
  });
}

document.querySelector('form [aria-invalid="true"]')?.focus();
