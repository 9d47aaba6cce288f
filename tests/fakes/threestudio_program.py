"""Runs in a process without slipcast, in a clone of threestudio or the fake of one: threestudio_program.py TASK ANSWER.

TASK (torch.save) holds the guidance's settings, renders, angles and steps; ANSWER gets what came of each. Where the
clone is the real one, its own dreamfusion-system takes the step; what it imports and is not here is stood in for by
classes that do nothing.
"""

# pyright: reportMissingImports=false, reportAssignmentType=false
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types

import jaxtyping  # noqa: F401 - before typeguard is stood in for, whose version it asks
import torch

# Stood in for where they are missing, and the last ones wherever: they take seconds, and are never called.
MISSING = (
    "tinycudann", "nvdiffrast", "envlight", "wandb", "pytorch_lightning", "lightning", "torchmetrics", "torchvision",
    "controlnet_aux", "igl", "einops", "typeguard", "requests", "extern", "taming", "clip", "tqdm", "mcubes",
    "diffusers", "transformers", "matplotlib", "cv2", "nerfacc", "trimesh", "imageio", "scipy", "numba", "xatlas",
)  # fmt: skip


class Anything(torch.nn.Module):
    """A base class, a decorator, or a function, as it is used."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.held = args[0] if args and isinstance(args[0], types.FunctionType) else None

    def __call__(self, *args, **kwargs):
        return self.held(*args, **kwargs) if self.held else Anything(*args)


class StandIn(types.ModuleType):
    """A module that has whatever is asked for."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (torch.nn.Module,) if name == "LightningModule" else (Anything,), {})
        setattr(self, name, made)
        return made


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds them."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


def main(task_file, answer_file):
    assert importlib.util.find_spec("slipcast") is None, "this process should know nothing of slipcast"
    task = torch.load(task_file, weights_only=True)
    sys.path.insert(0, ".")
    sys.meta_path.insert(0, StandIns())
    import launch
    import threestudio

    launch.load_custom_modules()
    real = "dreamfusion-system" in threestudio.__modules__
    step = system_step(threestudio, task) if real else plain_step(threestudio, task)
    answers = []
    for number in task["steps"]:
        rgb = task["rgb"].clone().requires_grad_()
        batch = {name: task[name] for name in ("elevation", "azimuth", "camera_distances")}
        loss, out = step(number, rgb, dict(batch, rays_o=rgb.detach(), height=rgb.shape[1]))
        loss.backward()
        answers.append(
            {"loss": float(loss), "gradient": rgb.grad, "out": {name: float(out[name]) for name in out}}
        )
    refusals = [refusal(threestudio, task, one) for one in task["refused"]]
    torch.save({"answers": answers, "system": real, "refusals": refusals}, answer_file)


def refusal(threestudio, task, settings):
    """What is said of guidance that cannot be."""
    try:
        plain_step(threestudio, dict(task, guidance=settings))(0, task["rgb"].clone(), {})
    except (RuntimeError, ValueError) as error:
        return str(error)
    return None


def plain_step(threestudio, task):
    guidance = threestudio.find("slipcast-multi-guidance")(task["guidance"])
    said = threestudio.find("slipcast-prompt-processor")({"prompt": task["prompt"]})

    def step(number, rgb, batch):
        guidance.do_update_step(0, number)
        out = guidance(rgb, said(), **batch, rgb_as_latents=task["as_latents"])
        return out["loss_sds"], out

    return step


def system_step(threestudio, task):
    """The real system's own, around renders that are given."""
    from omegaconf import OmegaConf

    logged = {}

    class System(threestudio.find("dreamfusion-system")):
        global_step = current_epoch = 0

        def configure(self):
            pass

        def forward(self, batch):
            opacity = torch.ones_like(self._rgb[..., :1]).detach()
            return {"comp_rgb": self._rgb, "opacity": opacity}

        def log(self, name, value):
            logged[name] = value

    settings = {
        "guidance_type": "slipcast-multi-guidance",
        "guidance": task["guidance"],
        "prompt_processor_type": "slipcast-prompt-processor",
        "prompt_processor": {"prompt": task["prompt"]},
        "loss": {"lambda_sds": 1.0, "lambda_orient": 0.0, "lambda_sparsity": 0.0, "lambda_opaque": 0.0},
    }
    system = System(OmegaConf.create(settings))
    system.on_fit_start()

    def step(number, rgb, batch):
        object.__setattr__(system, "_rgb", rgb)
        system.do_update_step(0, number)
        loss = system.training_step(batch, 0)["loss"]
        kept = ("loss_sds", "grad_norm", "min_step", "max_step", "norm_text_null")
        return loss, {name: logged["train/" + name] for name in kept}

    return step


if __name__ == "__main__":
    main(*sys.argv[1:])
