"""The pretended device is one: it refuses what a real one refuses, and otherwise gives the numbers of the CPU."""

import copy

import pytest
import torch
import torch.nn.functional as F
from pretend import DeviceFault, Pretend, There
from torch import nn
from torch.utils.checkpoint import checkpoint


def test_it_is_there_only_inside():
    before = torch.cuda.is_available(), torch.backends.mps.is_available(), torch.autocast
    for kind in ("cuda", "mps"):
        with Pretend(kind):
            assert (
                torch.device(kind).type == kind
                and (torch.cuda if kind == "cuda" else torch.backends.mps).is_available()
            )
            x = torch.ones(3).to(kind)
            assert isinstance(x, There) and x.device == torch.device(kind, 0) and not x.is_cpu
            assert (x.is_cuda, x.is_mps) == (kind == "cuda", kind == "mps")
    assert before == (torch.cuda.is_available(), torch.backends.mps.is_available(), torch.autocast)


REFUSED = {
    "a sum": lambda x: x + torch.ones(3),
    "a product in place": lambda x: x.mul_(torch.ones(3)),
    "a layer of the CPU": lambda x: nn.Linear(3, 3)(x),
    "put together": lambda x: torch.cat([x, torch.ones(3)]),
    "one number put together": lambda x: torch.stack([x[0], torch.tensor(1.0)]),
    "values of the CPU at indices": lambda x: x.index_put_((torch.tensor([0, 1]),), torch.ones(2)),
    "a generator of the CPU": lambda x: torch.randn(3, generator=torch.Generator(), device=x.device),
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("empty", [False, True])
def test_it_refuses_what_a_real_one_refuses(wrong, empty):
    with Pretend("cuda", empty=empty):
        x = torch.ones(3).to("cuda")
        with pytest.raises(DeviceFault, match="same device|device type for generator"):
            wrong(x)


def test_numpy_wants_a_copy_on_the_cpu():
    with Pretend("cuda"):
        x = torch.ones(3).to("cuda")
        for wrong in (lambda: x.numpy(), lambda: __import__("numpy").asarray(x)):
            with pytest.raises(TypeError, match="Use Tensor.cpu"):
                wrong()
        assert x.cpu().numpy().sum() == 3


def test_apples_gpu_has_no_double_precision_and_pools_only_what_divides():
    with Pretend("mps"):
        x = torch.ones(1, 1, 12, 12).to("mps")
        for wrong in (
            lambda: x.double(),
            lambda: x.to(torch.float64),
            lambda: torch.ones(2, dtype=torch.float64).to("mps"),
        ):
            with pytest.raises(DeviceFault, match="float64"):
                wrong()
        assert F.adaptive_avg_pool2d(x, 4).shape == (1, 1, 4, 4)
        with pytest.raises(DeviceFault, match="divisible"):
            F.adaptive_avg_pool2d(x, 5)


def test_it_allows_what_a_real_one_allows():
    with Pretend("cuda"):
        x = torch.arange(3.0).to("cuda")
        assert (x + torch.tensor(1.0)).tolist() == [1, 2, 3]
        assert x[torch.tensor([2, 0])].tolist() == [2, 0]
        assert torch.full((2,), 7.0, device="cuda").cpu().tolist() == [7, 7]
        assert f"{x[1]:.1f}" == "1.0"
        there = torch.zeros(3, device="cuda")
        there.copy_(torch.ones(3))
        assert there.sum().item() == 3


def test_waits_and_copies_are_counted():
    with Pretend("cuda") as seen:
        x = torch.arange(3.0).to("cuda")
        assert seen.copies.total() == 1 and seen.waits.total() == 0
        x.sum().item(), bool(x[0] == 0), x.tolist(), x[x > 0]
        assert seen.waits.total() == 4
        assert {place.split(":")[0].split("/")[-1] for place, _ in seen.waits} == {"test_pretend.py"}
        x.cpu(), x[[0, 2]]
        assert seen.copies.total() == 3 and seen.doubles.total() == 0
        seen.reset()
        y = x.view(3, 1).expand(3, 2) * 2
        assert seen.kernels.total() == 1 and y.double().dtype == torch.float64 and seen.doubles.total() == 1


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(64, 2))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_network_learns_there_as_it_learns_here(kind):
    """Three steps of Adam through a recomputed piece: the same bits."""
    x, found = torch.randn(2, 3, 4, 4), []
    with Pretend(kind) as seen:
        for device in ("cpu", kind):
            model = network().to(device)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                checkpoint(model, x.to(device), use_reentrant=False).square().mean().backward()
                optimizer.step()
            twin = copy.deepcopy(model)
            assert all(
                isinstance(p, nn.Parameter) and (device == "cpu" or isinstance(p, There)) for p in twin.parameters()
            )
            found.append([p.detach().cpu() for p in twin.parameters()])
        assert seen.kernels["convolution"] == 2 * 3  # and once more each on the way back
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_gradients_cross_between_the_devices():
    with Pretend("cuda"):
        x = torch.ones(2, requires_grad=True)
        (x.to("cuda") * 3).cpu().sum().backward()
        assert x.grad.tolist() == [3, 3] and not isinstance(x.grad, There)


def test_mixed_precision_there_is_that_of_the_device():
    with Pretend("cuda"):
        x = torch.ones(2, 2, device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            assert (x @ x).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16), torch.autocast("cuda", enabled=False):
            assert (x @ x).dtype == torch.float32


def test_shapes_alone_compute_nothing():
    with Pretend("cuda", empty=True) as seen:
        model = network().to("cuda")
        y = model(torch.randn(2, 3, 4, 4).to("cuda"))
        assert y.shape == (2, 2) and y.inner.is_meta and y.sum().item() == 0.5 and y.cpu().tolist() == [[0, 0], [0, 0]]
        y.sum().backward()
        assert model[0].weight.grad.shape == model[0].weight.shape and seen.waits.total() == 1
