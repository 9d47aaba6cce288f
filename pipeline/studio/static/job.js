// A job's page: the 3D view when there is an object, and candidates by their numbers.
import { whenPlaced } from "./live.js";
import { showModel } from "./model.js";

whenPlaced((part) => part === "result" && showModel());
showModel();

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  document.querySelector(`.gallery button[data-key="${CSS.escape(event.key)}"]`)?.focus();
});
