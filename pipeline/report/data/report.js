"use strict";
// The page of one run. Without this script all of it but the 3D view is there all the same.
const $ = (id) => document.getElementById(id);
const framed = location.hash === "#viewer" || "framed" in document.documentElement.dataset; // the view alone
if (framed) document.documentElement.classList.add("framed");

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // where pages may not write: Ctrl-C does
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

const bytes = (id) => Uint8Array.from(atob($(id).textContent), (sign) => sign.charCodeAt(0));

async function unpackedViewer() {
  const packed = new Blob([bytes("viewer-code")]).stream();
  const code = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).blob();
  const script = document.createElement("script");
  script.src = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error("the viewer cannot be read"));
    document.head.append(script);
  });
}

function tell(sentence) {
  $("view-state").textContent = sentence;
  $("view-state").hidden = !sentence;
}

async function show() {
  const view = $("view");
  if (!document.createElement("canvas").getContext("webgl2")) {
    tell("This browser draws no 3D (WebGL 2 is off); the pictures show the object all the same.");
    return;
  }
  await unpackedViewer();
  const viewer = document.createElement("model-viewer");
  const start = "0deg 72deg 120%"; // a little further away than it has to be, for the shadow
  const told = {
    alt: $("stage").dataset.alt, "camera-controls": "", "camera-orbit": start, "interaction-prompt": "none",
    "touch-action": "pan-y", "shadow-intensity": "0.6", "shadow-softness": "0.9", exposure: "0.95",
    "environment-image": "neutral", "max-camera-orbit": "auto 175deg auto", "rotation-per-second": "24deg",
  };
  for (const [name, value] of Object.entries(told)) viewer.setAttribute(name, value);
  viewer.addEventListener("error", () => tell("The GLB of this run cannot be shown; exporting it again may help."));
  viewer.addEventListener("load", () => {
    tell("");
    view.classList.add("shown");
    for (const id of ["reset", "spin", "full"]) $(id).hidden = framed || (id === "full" && !view.requestFullscreen);
    document.documentElement.dataset.viewer = "shown";
    if (framed) parent.postMessage({ slipcast: "shown" }, "*");
  });
  viewer.src = URL.createObjectURL(new Blob([bytes("glb")], { type: "model/gltf-binary" }));
  $("stage").append(viewer);

  $("reset").addEventListener("click", () => { viewer.cameraOrbit = start; viewer.fieldOfView = "auto"; viewer.cameraTarget = "auto auto auto"; viewer.jumpCameraToGoal(); viewer.resetTurntableRotation(0); });
  $("spin").addEventListener("click", () => {
    const spins = viewer.toggleAttribute("auto-rotate");
    $("spin").setAttribute("aria-pressed", String(spins));
    $("spin").textContent = spins ? "Stop" : "Spin";
  });
  $("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : view.requestFullscreen()));

  if (framed) {
    addEventListener("keydown", (event) => event.key === "Escape" && parent.postMessage({ slipcast: "close" }, "*"));
    // Two views beside each other turn together: each tells the index, which tells the other.
    viewer.addEventListener("camera-change", (event) => {
      if (event.detail.source !== "user-interaction") return;
      const { theta, phi } = viewer.getCameraOrbit();
      parent.postMessage({ slipcast: "turned", theta, phi }, "*");
    });
    addEventListener("message", (event) => {
      const { slipcast, theta, phi } = event.data ?? {};
      if (event.source !== parent || slipcast !== "turn" || !Number.isFinite(theta) || !Number.isFinite(phi)) return;
      viewer.cameraOrbit = `${theta}rad ${phi}rad ${viewer.getCameraOrbit().radius}m`;
      viewer.jumpCameraToGoal();
    });
  }
}

if ($("glb")) show().catch((error) => tell(`The 3D view cannot be shown here (${error.message}).`));
