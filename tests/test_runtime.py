"""Mixed precision: pictures may be coarse, latents and embeddings are not, and a run stays a run."""

import warnings
from dataclasses import replace

import pytest
import torch

from guide_lib import runtime
from guide_lib.errors import GuideError
from guide_lib.experiment import run_folder
from guide_lib.generators.mobile import MobileStyleGAN
from guide_lib.perception.identity import load_embedder
from guide_lib.perception.perceptual import load_lpips
from guide_lib.runtime import computes_bfloat16, full_precision, mixed_precision
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.unlearning import settings as presets

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator():
    """MobileStyleGAN at 128 px with random weights of about the size of the released ones."""
    rng = torch.Generator().manual_seed(0)
    network = MobileStyleGAN(128).requires_grad_(False)
    for name, tensor in network.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape, generator=rng) * (0.05 if "mapping" in name else 0.5))
    for layer in network.modules():
        if hasattr(layer, "modulation"):
            layer.modulation.weight.mul_(0.02)
            layer.modulation.bias.fill_(1.0)
    network.heads["128"].to_img.weight.mul_(0.1)
    return network


def test_only_what_is_asked_for_is_computed_coarsely():
    a, b = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(1))
    exact = a @ b
    with mixed_precision(CPU):
        assert (a @ b).dtype == torch.bfloat16
        with full_precision(CPU):
            assert torch.equal(a @ b, exact)
    with mixed_precision(CPU, enabled=False):
        assert torch.equal(a @ b, exact)


def test_latents_are_drawn_in_single_precision_and_pictures_are_not(generator):
    ws = generator.sample(2, torch.Generator().manual_seed(2))
    exact = generator.synthesis(ws)
    with mixed_precision(CPU):
        assert torch.equal(generator.sample(2, torch.Generator().manual_seed(2)), ws)
        coarse = generator.synthesis(ws)
    assert (coarse.image.dtype, coarse.features.dtype) == (torch.float32, torch.bfloat16)
    for now, before in ((coarse.image, exact.image), (coarse.features, exact.features)):
        assert 1e-4 < (now - before).norm() / before.norm() < 0.05


def test_embeddings_are_exact_and_lpips_is_close():
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(3)) * 2 - 1
    embedder, lpips = load_embedder(), load_lpips("alex")
    with torch.no_grad():
        exact, distance = embedder.embed(pictures), lpips(*pictures.split(1))
        with mixed_precision(CPU):
            assert torch.allclose(embedder.embed(pictures), exact, atol=1e-6)
            assert lpips(*pictures.split(1)).item() == pytest.approx(distance.item(), rel=0.02)


def test_a_step_in_mixed_precision_goes_where_one_in_single_goes(generator):
    settings = UnlearningSettings(steps=2, learning_rate=1e-3, n_adjacent=1, n_global=1)
    w_u, w_t = generator.sample(2, torch.Generator().manual_seed(4)).split(1)
    networks = {"perceptual": load_lpips("alex"), "embedder": load_embedder()}
    single, mixed = (
        list(unlearn(generator, w_u, w_t, replace(settings, mixed_precision=flag), **networks))
        for flag in (False, True)
    )
    for a, b in zip(single, mixed, strict=True):
        assert b.losses["total"] == pytest.approx(a.losses["total"], rel=0.05)
        assert b.losses != a.losses  # it really was computed otherwise
    before, a, b = (g.trainable_parameters() for g in (generator, single[-1].student, mixed[-1].student))
    moved = [torch.cat([(p[name] - before[name]).flatten() for name in before]) for p in (a, b)]
    assert all(p.dtype == torch.float32 for p in b.values())
    assert torch.cosine_similarity(*moved, dim=0) > 0.8


@pytest.fixture
def gpus(monkeypatch):
    """PyTorch says that both kinds of GPU are there; whether they work is this PyTorch's affair."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def no_kernel(device):
    return None if device.type == "cpu" else "CUDA error: no kernel image is available"


def test_a_gpu_that_does_not_work_is_passed_over_and_its_reason_is_told(gpus, monkeypatch):
    monkeypatch.setattr(runtime, "trouble_with", no_kernel)
    with pytest.warns(UserWarning, match="cuda is there and does not work .*no kernel image.*; it is passed over"):
        assert runtime.pick_device().type == "cpu"
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(GuideError, match=f"'{name}' is there and does not work .*update PyTorch, or choose --dev"):
            runtime.pick_device(name)


def test_the_best_device_that_works_is_taken(gpus, monkeypatch):
    for works in ("cuda", "mps"):
        monkeypatch.setattr(runtime, "trouble_with", lambda device, works=works: None if device.type == works else "x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert runtime.pick_device().type == works
        assert runtime.pick_device(works) == torch.device(works)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:7", "mps:1", "tpu"])
def test_a_card_that_is_not_there_is_refused(name, gpus):
    with pytest.raises(GuideError, match=f"There is no device '{name}' .* choose one of: cuda, mps, cpu"):
        runtime.pick_device(name)


def test_a_device_is_tried_and_not_believed(gpus):
    """No mocks: this PyTorch has no Apple's GPU below what was just said, and the CPU passes."""
    assert runtime.trouble_with(CPU) is None
    assert runtime.trouble_with(torch.device("mps")).startswith("Could not run")


def test_a_card_that_fails_only_when_it_is_waited_for_has_failed(monkeypatch):
    """CUDA's errors come late."""

    def late(tensor):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be late.")

    monkeypatch.setattr(torch.Tensor, "item", late)
    assert runtime.trouble_with(CPU) == "CUDA error: an illegal memory access was encountered"


FULL = {
    "a card": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "a card, late": RuntimeError("CUDA error: out of memory"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "Apple's": RuntimeError("MPS backend out of memory (MPS allocated: 17.77 GB, max allowed: 18.13 GB)."),
    "Apple's, one buffer": RuntimeError("Invalid buffer size: 24.00 GB"),
    "main memory": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    "Python's": MemoryError(),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_memory_is_one_sentence_wherever_it_is(error, tmp_path):
    with (
        pytest.raises(GuideError, match="ran out of memory; use a smaller --resolution or --device cpu"),
        run_folder(tmp_path),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory")])
def test_another_error_keeps_its_traceback(error, tmp_path):
    with pytest.raises(type(error), match=str(error)), run_folder(tmp_path):
        raise error


def test_each_card_is_asked_for_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: [(8, 0), (7, 5)][device.index])
    assert [computes_bfloat16(torch.device("cuda", k)) for k in (0, 1)] == [True, False]


@pytest.mark.parametrize("able", [False, True])
def test_the_fast_preset_is_mixed_where_the_device_is_faster_so(able, monkeypatch):
    monkeypatch.setattr(presets, "computes_bfloat16", lambda device: able)
    assert UnlearningSettings.fast(CPU).mixed_precision is able
    assert UnlearningSettings.fast().mixed_precision is False
    assert UnlearningSettings.fast(CPU, mixed_precision=not able).mixed_precision is not able


def test_a_processor_is_believed_what_it_says(monkeypatch):
    for able in ({}, {"avx512_bf16": False}, {"avx512_bf16": True}, {"amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert computes_bfloat16(CPU) is any(able.values())
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # an older PyTorch
    assert computes_bfloat16(CPU) is False
    assert computes_bfloat16(torch.device("mps")) is False
