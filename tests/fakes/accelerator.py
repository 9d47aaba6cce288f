"""A second device for machines that have none: its tensors compute on the CPU and refuse what CUDA's would refuse.

torch lets Python stand in for a backend (the PrivateUse1 key), so that ``torch.device("fakecard")`` is a device like
any other: ``.to``, ``device=`` of factories, modules, autograd and ``new_zeros`` work. Each tensor wraps a plain one in
main memory, whose kernels compute. It raises

- where tensors of two devices meet in one operation, other than CPU scalars without dimensions;
- where values cross silently: ``copy_`` or ``x[i] = y`` between devices, and indices from the CPU (CUDA would stop and
  copy); ``.to`` and ``.cpu`` are the ways across;
- at ``.numpy()``, which torch itself refuses, and at random draws, whose numbers would not be those of the CPU.

The "meta" device computes nothing, so that code which looks at a value cannot run on it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

ACCELERATOR = "fakecard"  # not "accelerator", which is a module of torch's

_setup_privateuseone_for_python_backend(ACCELERATOR)
# Asked by torch's checkpoints of whatever device there is, also where everything is on the CPU.
getattr(torch, ACCELERATOR).get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]


class WrongDevice(RuntimeError):
    """What a real accelerator would refuse, or do slowly without saying so."""


class AcceleratorTensor(torch.Tensor):
    """A tensor of the device "fakecard"; ``held`` is where its values are."""

    held: torch.Tensor
    fresh: bool  # made by ``empty`` and not written to: the target of a ``.to``

    @staticmethod
    def __new__(cls, held: torch.Tensor, fresh: bool = False) -> AcceleratorTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(ACCELERATOR, 0),
            requires_grad=held.requires_grad,
        )
        made.held, made.fresh = held, fresh
        return made

    def __repr__(self, **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"accelerator({self.held!r})"

    def tolist(self) -> Any:
        """torch gives none to subclasses; real devices have it."""
        return self.held.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        """torch would copy the wrapper's own storage, which is none, and crash."""
        if id(self) not in memo:
            made = AcceleratorTensor(self.held.detach().clone())
            parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if parameter else made
        return memo[id(self)]

    def data_ptr(self) -> int:
        """Of the values, to tell whether a tensor was moved."""
        return self.held.data_ptr()

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        if name == "copy_":
            return _copy(func, args, kwargs)
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        _refuse_strangers(name, tensors)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise WrongDevice(
                f"{name} draws on the accelerator; draw from a CPU generator and move the numbers"
            )
        target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if target is not None:
            kwargs["device"] = "cpu"
        if kwargs.get("pin_memory"):
            raise WrongDevice("only main memory can be pinned")
        # Wrappers take part in views, which tensors of inference mode cannot.
        with torch.inference_mode(False):
            out = func(*tree_map(_opened, args), **tree_map(_opened, kwargs))
            closed = tree_map(_closed, out)
        for one in tensors:
            if isinstance(one, AcceleratorTensor):
                one.fresh = False
        if target is not None and target.type == "cpu":
            return out
        return return_and_correct_aliasing(func, args, kwargs, closed)


def on_accelerator(module: torch.nn.Module) -> torch.nn.Module:
    """The module with its parameters and buffers on the accelerator."""
    return module.to(ACCELERATOR)


def _opened(value: Any) -> Any:
    return value.held if isinstance(value, AcceleratorTensor) else value


def _closed(value: Any) -> Any:
    plain = isinstance(value, torch.Tensor) and not isinstance(value, AcceleratorTensor)
    return AcceleratorTensor(value) if plain else value


def _refuse_strangers(name: str, tensors: list[torch.Tensor]) -> None:
    for one in tensors:
        if not isinstance(one, AcceleratorTensor) and one.ndim > 0:
            raise WrongDevice(
                f"{name}: expected all tensors on the same device, but one {tuple(one.shape)} of {one.dtype} is on "
                f"{one.device} and others are on the accelerator"
            )


def _copy(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target, source = args[:2]
    here, there = isinstance(target, AcceleratorTensor), isinstance(source, AcceleratorTensor)
    if (here != there and source.ndim > 0 and not getattr(target, "fresh", False)) or (there and not here):
        raise WrongDevice(
            f"copy_: {tuple(source.shape)} from {source.device} to {target.device} crosses silently; say .to(...)"
        )
    target.fresh = False
    func(_opened(target), _opened(source), *args[2:], **kwargs)
    return target


_FACTORIES = (
    "empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "linspace", "eye", "eye.m",
    "zeros", "ones", "full", "scalar_tensor", "tril_indices", "triu_indices",
)  # fmt: skip
_DRAWS = ("rand", "rand.generator", "randn", "randn.generator", "randint", "randint.generator", "randint.low",
          "randint.low_generator", "randperm", "randperm.generator", "normal.float_float")  # fmt: skip


def _factory(name: str) -> Any:
    packet, _, overload = name.partition(".")
    func = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def make(*args: Any, **kwargs: Any) -> torch.Tensor:
        held = func(*args, **{**kwargs, "device": "cpu", "pin_memory": False})
        return AcceleratorTensor(held, fresh=packet.startswith("empty"))  # pyright: ignore[reportCallIssue]

    return make


def _refusal(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> torch.Tensor:
        raise WrongDevice(f"{name} draws on the accelerator; draw from a CPU generator and move the numbers")

    return refuse


_LIBRARY = torch.library.Library("aten", "IMPL", "PrivateUse1")
for _name in _FACTORIES:
    _LIBRARY.impl(_name, _factory(_name))
for _name in _DRAWS:
    _LIBRARY.impl(_name, _refusal(_name))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """How torch.tensor(values, device=...) brings its values over, past ``__torch_dispatch__``."""
    return _copy(torch.ops.aten.copy_.default, (target, source), {})


_LIBRARY.impl("_copy_from", _copy_from)
