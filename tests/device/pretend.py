"""A device that is not there: tensors that say they are on `cuda` or `mps` and are computed on the CPU.

    with Pretend("cuda") as seen:
        generator = load_generator(device="cuda")
        ...
    print(seen.waits, seen.copies, seen.kernels)         # Counters: by the line of the library that asked, by operation

What PyTorch would refuse on a machine with that device is refused here: an operation between a tensor there and one
on the CPU (but for single numbers and indices), `numpy()` of a tensor there, draws there from a generator of the CPU;
on Apple's GPU double precision, and average pooling between sizes that do not divide. What a device accepts and waits
for is counted. Numbers are real and autograd works, since below Python all is CPU; so autocast is that of the CPU.

Not seen: kernels, memory, speed, drivers, non-determinism. `empty=True` keeps shapes alone: nothing is computed, which
is for counting, and for what would take too long.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_iter, tree_map

from guide_lib.generators.volume import Jitter
from guide_lib.perception import crops

aten = torch.ops.aten
WORLDS: list[Pretend] = []  # the innermost is the one that counts
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
ANSWERS = {"_local_scalar_dense", "item", "is_nonzero", "equal"}  # one number comes back
WAITING = ANSWERS | {"nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive", "repeat_interleave"}
# Views and bookkeeping, for which a device launches nothing.
FREE = ANSWERS | {"detach", "alias", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}
FREE |= {"lift_fresh", "_reshape_alias", "set_", "size", "stride", "record_stream"}


class DeviceFault(RuntimeError):
    """What the device would have raised."""


class There(Tensor):
    """A tensor that claims to be on the pretended device. `inner` has its numbers, or its shape (on `meta`)."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        assert not isinstance(inner, There)
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, inner.size(), **layout, dtype=inner.dtype, device="cpu")
        made.inner = inner
        return made

    device = property(lambda self: WORLDS[-1].device)
    is_cuda = property(lambda self: self.device.type == "cuda")
    is_mps = property(lambda self: self.device.type == "mps")
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **_: object) -> str:
        return f"There({self.inner.detach()!r})"

    def __format__(self, spec: str) -> str:
        return self.item().__format__(spec) if self.dim() == 0 else object.__format__(self, spec)

    def __array__(self, *_: object, **__: object) -> None:
        raise no_numpy()

    def __deepcopy__(self, memo: dict[int, object]) -> There:
        if id(self) in memo:
            return memo[id(self)]
        twin = There(self.inner.detach().clone(memory_format=torch.preserve_format))
        twin.requires_grad_(self.requires_grad)
        twin.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
        if getattr(self, "_is_param", False):
            twin._is_param = True
        memo[id(self)] = twin
        return twin

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        world, kwargs = WORLDS[-1], kwargs or {}
        name = func.overloadpacket.__name__
        world.check(func, name, args, kwargs)
        inner_args, inner_kwargs = tree_map(lambda x: x.inner if isinstance(x, There) else x, (args, kwargs))
        if world.empty:
            if name in ANSWERS:
                world.count(func, name, inner_args, None)
                return 0.5 if args[0].dtype.is_floating_point else True
            inner_args, inner_kwargs = shapes_alone(func, inner_args, inner_kwargs)
        out = func(*inner_args, **inner_kwargs)
        world.count(func, name, inner_args, out)
        if func is aten.copy_.default and not isinstance(args[0], There):
            return args[0]
        out = tree_map(lambda x: There(x) if isinstance(x, Tensor) else x, out)
        return return_and_correct_aliasing(func, args, kwargs, out)


def shapes_alone(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments of an operation on `meta`: single numbers and indices from the CPU become shapes, too."""

    def shape(x: Any) -> Any:
        return x.to("meta") if isinstance(x, Tensor) and x.dim() and func is not aten.copy_.default else x

    args, kwargs = tree_map(shape, (args, kwargs))
    return args, kwargs | ({"device": torch.device("meta")} if "device" in kwargs else {})


class Upload(torch.autograd.Function):
    """From the CPU to the device; the gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return There(upload_inner(x))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return download_inner(gradient.inner) if isinstance(gradient, There) else gradient


class Download(torch.autograd.Function):
    """From the device to the CPU; the gradient goes there."""

    @staticmethod
    def forward(ctx: Any, x: There) -> Tensor:
        return download_inner(x.inner)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient if isinstance(gradient, There) else There(upload_inner(gradient))


def upload_inner(x: Tensor) -> Tensor:
    return x.detach().to("meta") if WORLDS[-1].empty else x.detach().clone()


def download_inner(x: Tensor) -> Tensor:
    return torch.zeros(x.shape, dtype=x.dtype) if x.is_meta else x.detach().clone()


def place() -> str:
    """The library's innermost line on the stack, as `file.py:line`; outside of it, where the test stands."""
    frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename and f.filename != __file__]
    frames = [f for f in frames if "guide_lib" in f.filename] or frames
    return f"{frames[-1].filename.split('guide_lib/')[-1]}:{frames[-1].lineno}"


def no_numpy() -> TypeError:
    return TypeError(f"can't convert {WORLDS[-1].device} device type tensor to numpy. Use Tensor.cpu() first.")


@contextlib.contextmanager
def patched(owner: object, name: str, value: object):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class Pretend(TorchFunctionMode):
    """The machine with that device. bfloat16: whether the device computes it; empty: shapes instead of numbers.

    Attributes:
        waits, copies, doubles: where the library waited, copied from or to the CPU, and made double precision.
        kernels: how often each operation was launched.
        channels_last: convolutions that read a picture in that layout.
    """

    def __init__(self, device: str = "cuda", bfloat16: bool = True, empty: bool = False) -> None:
        super().__init__()
        self.device = torch.device(device if ":" in device else f"{device}:0")
        self.bfloat16, self.empty = bfloat16, empty
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.waits, self.copies, self.doubles, self.kernels, self.channels_last = (
            collections.Counter() for _ in range(5)
        )

    # --- what the library asks a machine ---

    def __enter__(self) -> Pretend:
        WORLDS.append(self)
        self.forget()
        self.stack = contextlib.ExitStack()
        for owner, name, value in [*self.torch_patches(), *self.availability(), *load_file_patches()]:
            self.stack.enter_context(patched(owner, name, value))
        overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwriting)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.stack.close()
        self.forget()
        WORLDS.pop()

    def forget(self) -> None:
        """What the library keeps from picture to picture belongs to one machine."""
        crops._kept_grid.cache_clear()
        Jitter.of_seed.cache_clear()

    def availability(self) -> list[tuple[object, str, object]]:
        """The questions `is there one, and what can it do`."""
        if self.device.type == "mps":
            yes = functools.lru_cache(lambda: True)  # PyTorch clears its cache
            memory = "recommended_max_memory", lambda: 16 << 30
            return [
                (torch.mps, "driver_allocated_memory", lambda: 3 << 20),
                (torch.mps, "empty_cache", lambda: None),
                (torch.backends.mps, "is_available", yes),
                (torch.mps, *memory),
                (torch.mps, "synchronize", self.synchronize),
            ]
        capability = (9, 0) if self.bfloat16 else (7, 5)
        properties = collections.namedtuple("Properties", "name total_memory major minor")
        card = properties("Pretended card", 80 << 30 if self.bfloat16 else 16 << 30, *capability)
        return [
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "device_count", lambda: 1),
            (torch.cuda, "get_device_capability", lambda device=None: capability),
            (torch.cuda, "get_device_properties", lambda device=None: card),
            (torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"]),
            (torch.cuda, "max_memory_allocated", lambda device=None: 3 << 20),
            (torch.cuda, "reset_peak_memory_stats", lambda device=None: None),
            (torch.cuda, "get_device_name", lambda device=None: card.name),
            (torch.cuda, "synchronize", self.synchronize),
        ]

    def synchronize(self, device: Any = None) -> None:
        """Somebody waits on purpose."""
        self.waits[place(), "synchronize"] += 1

    def torch_patches(self) -> list[tuple[object, str, object]]:
        """Where PyTorch itself would look below Python, and find a CPU there."""
        kind, world = self.device.type, self
        real_autocast, real_to, real_engine = torch.autocast, torch.nn.Module.to, torch.autograd._engine_run_backward

        class Autocast(real_autocast):
            def __init__(self, device_type: str, *args: object, **kwargs: object) -> None:
                super().__init__("cpu" if device_type == kind else device_type, *args, **kwargs)

        def module_to(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
            """`module.to(tensor)` has to be said in words."""
            if args and isinstance(args[0], There):
                args = (args[0].device, args[0].dtype, *args[1:])
            return real_to(module, *args, **kwargs)

        def engine(*args: Any, **kwargs: Any) -> Any:
            """What is computed again on the way back (checkpoints) is watched, too."""
            TorchFunctionMode.__enter__(world)
            try:
                return real_engine(*args, **kwargs)
            finally:
                TorchFunctionMode.__exit__(world, None, None, None)

        patches = [(torch, "autocast", Autocast), (torch.nn.Module, "to", module_to)]
        patches.append((torch.autograd, "_engine_run_backward", engine))
        capturing = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")
        known = (name for name in capturing if hasattr(torch.optim.Optimizer, name))
        return patches + [(torch.optim.Optimizer, name, lambda optimizer: None) for name in known]

    def is_there(self, device: Any) -> bool:
        return device is not None and torch.device(device).type == self.device.type

    # --- what Python calls ---

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, first = dict(kwargs or {}), args[0] if args else None
        known: dict[Any, Callable[..., Any]] = {
            Tensor.to: self.to,
            Tensor.cpu: lambda x: self.to(x, "cpu"),
            Tensor.cuda: lambda x: self.to(x, "cuda"),
            Tensor.type_as: self.to,
        }
        if func in known:
            return known[func](*args, **kwargs)
        if isinstance(first, There):
            if func is Tensor.numpy:
                raise no_numpy()
            if func is Tensor.tolist:
                self.waits[place(), "tolist"] += 1
                return download_inner(first.inner).tolist()
            if func in (Tensor.untyped_storage, Tensor.data_ptr):
                return func(first.inner)
        return self.make(func, args, kwargs) if self.is_there(kwargs.get("device")) else func(*args, **kwargs)

    def make(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """A factory with `device=`."""
        if isinstance(kwargs.get("generator"), torch.Generator):
            raise DeviceFault(f"Expected a '{self.device.type}' device type for generator but found 'cpu'")
        grad = kwargs.pop("requires_grad", False)
        made = func(*args, **(kwargs | {"device": "cpu"}))
        self.check_dtype(made.dtype)
        return There(upload_inner(made)).requires_grad_(grad)

    def to(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        other = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("other")
        kwargs.pop("copy", None)
        if other is not None:
            device, dtype, form = other.device, other.dtype, kwargs.get("memory_format")
        else:
            device, dtype, _, form = torch._C._nn._parse_to(*args, **kwargs)
        there = isinstance(x, There) if device is None else self.is_there(device)
        if there:
            self.check_dtype(dtype or x.dtype)
        if isinstance(x, There) and not there:
            self.copies[place(), "to the CPU"] += 1
            x = Download.apply(x) if x.requires_grad else download_inner(x.inner)
        if dtype is not None or form is not None:
            x = Tensor.to(x, dtype=dtype or x.dtype, **({} if form is None else {"memory_format": form}))
        if there and not isinstance(x, There):
            self.copies[place(), "from the CPU"] += 1
            x = Upload.apply(x) if x.requires_grad else There(upload_inner(x))
        return x

    # --- what the dispatcher runs ---

    def check_dtype(self, dtype: torch.dtype) -> None:
        if dtype == torch.float64 and self.device.type == "mps":
            raise DeviceFault("Cannot convert a MPS Tensor to float64 dtype as MPS doesn't support float64.")

    def check(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        """Refuse what the device would refuse."""
        self.check_dtype(kwargs.get("dtype"))
        if self.device.type == "mps" and name == "_adaptive_avg_pool2d":
            sizes = zip(args[0].shape[2:], args[1], strict=True)
            if any(max(pair) % min(pair) for pair in sizes):
                raise DeviceFault("Adaptive pool MPS: input sizes must be divisible by output sizes.")
        here = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor) and not isinstance(x, There)]
        if not here or func in (aten.copy_.default, aten._to_copy.default, aten.set_.source_Tensor):
            return
        if name in INDEXING and isinstance(args[0], There):
            # indices may be on the CPU; the values to put may not, unless they are one number
            values = args[2] if len(args) > 2 else None
            if values is None or isinstance(values, There) or values.dim() == 0:
                self.copies[place(), "index from the CPU"] += 1
                return
        if any(x.dim() for x in here) or func in (aten.cat.default, aten.stack.default):
            shapes = [list(x.shape) for x in here]
            raise DeviceFault(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{self.device} and cpu! ({func} at {place()}, on the CPU: {shapes})"
            )

    def count(self, func: Any, name: str, args: Any, out: Any) -> None:
        chosen = [x for x in tree_iter(args[1:]) if isinstance(x, Tensor)] if name in INDEXING else []
        if name in WAITING or any(x.dtype in (torch.bool, torch.uint8) for x in chosen):
            self.waits[place(), name] += 1
        if any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in tree_iter(out)):
            self.doubles[place()] += 1
        if name in FREE or func.is_view:
            return
        self.kernels[name] += 1
        if name == "convolution":
            x = args[0]
            self.channels_last[place()] += x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def load_file_patches() -> list[tuple[object, str, object]]:
    """safetensors places tensors by itself."""
    real = safetensors.torch.load_file

    def load_file(path: Any, device: Any = "cpu") -> dict[str, Tensor]:
        return {name: tensor.to(device) for name, tensor in real(path).items()}

    users = [module for module in list(sys.modules.values()) if getattr(module, "load_file", None) is real]
    return [(module, "load_file", load_file) for module in users]
