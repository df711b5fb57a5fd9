"""What goes wrong on a GPU and not on a CPU, put into the library on purpose: python tests/mutants.py device

Each fault is a replaced piece of a line, with the module of tests/device that must fail: see tests/mutants.py.
"""

FAULTS = {
    "latents are drawn on the CPU and stay there": (
        "generators/base.py",
        "generator=rng).to(self.w_avg.device)",
        "generator=rng)",
        "test_pipelines",
    ),
    "the crop's grid goes to the device in double precision": (
        "perception/crops.py",
        "extent).to(device, dtype)",
        "extent).to(device).to(dtype)",
        "test_networks",
    ),
    "a mask is made on the CPU": (
        "experiment.py",
        "torch.arange(count, device=ws.device) % 2 == 1",
        "torch.arange(count) % 2 == 1",
        "test_pipelines",
    ),
    "the lengths of the offsets stay on the CPU": (
        "unlearning/objective.py",
        ".to(self.w_u.device, teacher.offset_dtype)",
        ".to(teacher.offset_dtype)",
        "test_pipelines",
    ),
    "depths are made on the CPU": (
        "generators/volume.py",
        "sampling.coarse, device=u.device)",
        "sampling.coarse)",
        "test_networks",
    ),
    "the judge's centre does not move with it": (
        "perception/identity.py",
        'self.register_buffer("centre", centre)',
        "self.centre = centre",
        "test_networks",
    ),
    "LPIPS' heads do not move with it": (
        "perception/perceptual.py",
        'self.register_buffer(f"head{k}", weight.clamp(min=0).sqrt())',
        'setattr(self, f"head{k}", weight.clamp(min=0).sqrt())',
        "test_networks",
    ),
    "Adam's moments are loaded on the CPU": (
        "checkpoint.py",
        "else t.to(parameter.device)",
        "else t",
        "test_pipelines",
    ),
    "LoRA begins on the CPU": ("variants.py", "nn.Parameter(a.to(weight))", "nn.Parameter(a)", "test_pipelines"),
    "adapters begin on the CPU": (
        "generators/adapters.py",
        "rng).to(bias)",
        "rng)",
        "test_pipelines",
    ),
    "how far to move stays on the CPU": (
        "generators/directions.py",
        "torch.as_tensor(amount).to(ws)",
        "torch.as_tensor(amount)",
        "test_networks",
    ),
    "the distances of an attack stay on the CPU": (
        "attacks/neighbours.py",
        "torch.full((count,), distance).to(w_u)",
        "torch.full((count,), distance)",
        "test_pipelines",
    ),
    "a picture of the device becomes an array": (
        "perception/crops.py",
        "permute(0, 2, 3, 1).cpu().numpy()",
        "permute(0, 2, 3, 1).numpy()",
        "test_pipelines",
    ),
    "rendered pictures stay on the device": (
        "metrics/identity.py",
        "generator.picture(chunk, view).cpu()",
        "generator.picture(chunk, view)",
        "test_pipelines",
    ),
    "photos of an inversion stay on the CPU": (
        "inversion/optimise.py",
        "photos = self.seen(photos.to(generator.w_avg))",
        "photos = self.seen(photos.float())",
        "test_pipelines",
    ),
    "the face detector gets an array of the device": (
        "perception/crops.py",
        ".permute(0, 2, 3, 1).cpu().numpy()",
        ".permute(0, 2, 3, 1).numpy()",
        "test_networks",
    ),
    "weights of the device become bytes": (
        "checkpoint.py",
        "tensor.detach().cpu().contiguous().numpy()",
        "tensor.detach().contiguous().numpy()",
        "test_pipelines",
    ),
    "Inception gets photos of the CPU": (
        "perception/inception.py",
        "images = images.to(self.conv.weight.device)",
        "images = images",
        "test_networks",
    ),
    "Apple's GPU pools between sizes that do not divide": (
        "perception/crops.py",
        'if divide or images.device.type != "mps":',
        "if True:",
        "test_networks",
    ),
    "Apple's GPU convolves with channels last": (
        "runtime.py",
        'torch.contiguous_format if device.type == "mps" else torch.channels_last',
        "torch.channels_last",
        "test_networks",
    ),
}
