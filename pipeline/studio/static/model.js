// The 3D view: model-viewer, which is large, is loaded when there is something to see.
let loading = null;

function viewerLoaded() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/model-viewer.js";
    script.onload = resolve;
    script.onerror = () => reject(new Error("the viewer cannot be loaded"));
    document.head.append(script);
  });
  return loading;
}

const START = "0deg 72deg 120%"; // a little further away than it has to be, for the shadow

export async function showModel() {
  const view = document.getElementById("view");
  if (!view || view.querySelector("model-viewer")) return;
  const state = view.querySelector(".view-state");
  if (!document.createElement("canvas").getContext("webgl2")) {
    state.textContent = "This browser draws no 3D (WebGL 2 is off); the pictures show the object all the same.";
    return;
  }
  try {
    await viewerLoaded();
  } catch {
    state.textContent = "The 3D view cannot be loaded; the pictures show the object all the same.";
    return;
  }
  const model = document.createElement("model-viewer");
  const told = {
    src: view.dataset.glb, alt: view.dataset.alt, "camera-controls": "", "camera-orbit": START,
    "interaction-prompt": "none", "touch-action": "pan-y", "shadow-intensity": "0.6", "shadow-softness": "0.9",
    exposure: "1", "environment-image": "neutral", "max-camera-orbit": "auto 175deg auto", "rotation-per-second": "24deg",
  };
  for (const [name, value] of Object.entries(told)) model.setAttribute(name, value);
  model.addEventListener("error", () => (state.textContent = "The GLB cannot be shown; the downloads may help."));
  model.addEventListener("load", () => {
    state.textContent = "";
    view.classList.add("shown");
    view.querySelector(".view-tools").hidden = false;
  });
  view.prepend(model);
  tools(view, model);
}

function tools(view, model) {
  const [light, turn, spin, reset] = ["light", "turn", "spin", "reset"].map((id) => view.querySelector(`#${id}`));
  light.addEventListener("input", () => model.setAttribute("exposure", light.value));
  turn.addEventListener("input", () => {
    stop();
    const orbit = model.getCameraOrbit();
    model.cameraOrbit = `${turn.value}deg ${orbit.phi}rad ${orbit.radius}m`;
    model.jumpCameraToGoal();
  });
  const stop = () => {
    model.removeAttribute("auto-rotate");
    spin.setAttribute("aria-pressed", "false");
  };
  spin.addEventListener("click", () => {
    if (spin.getAttribute("aria-pressed") === "true") return stop();
    model.setAttribute("auto-rotate", "");
    model.setAttribute("auto-rotate-delay", "0");
    spin.setAttribute("aria-pressed", "true");
  });
  reset.addEventListener("click", () => {
    stop();
    light.value = 1;
    turn.value = 0;
    model.setAttribute("exposure", "1");
    model.resetTurntableRotation();
    model.cameraOrbit = START;
    model.jumpCameraToGoal();
  });
}
