"""Attacks and defences that flatter themselves, put into the library on purpose: python tests/mutants.py attacks

Each fault is a replaced piece of a line, with the test module that must fail: see tests/mutants.py.
"""

SEARCH, RELEARNING, ROBUST = "attacks/test_search", "attacks/test_relearning", "test_robust"
PLANTED = {
    # search
    "the attacker keeps what the judge likes best": (
        "attacks/found.py",
        "return self.cosines(judge)[self.own.argmax()].item()",
        "return self.cosines(judge).max().item()",
        SEARCH,
    ),
    "a random start is the mean face": (
        "attacks/search.py",
        '"random": lambda: student.sample(1, rng),',
        '"random": lambda: student.w_avg,',
        SEARCH,
    ),
    "the reflected point is the target": (
        "attacks/search.py",
        'lambda: 2 * student.w_avg - given(person.w_t, "the target")',
        'lambda: given(person.w_t, "the target")',
        SEARCH,
    ),
    "all starts are the same": (
        "attacks/search.py",
        "torch.cat([first, student.sample(attacker.starts - 1, rng)])",
        "first.repeat(attacker.starts, 1, 1)",
        SEARCH,
    ),
    "the budget counts one start": ("attacks/found.py", "steps=self.taken * starts", "steps=self.taken", SEARCH),
    "the curve counts one start": ("attacks/found.py", "[(steps * len(self.ws), cosine)", "[(steps, cosine)", SEARCH),
    "one judge is enough to stop": (
        "attacks/found.py",
        "torch.stack(passed).all(0).any(1).all()",
        "torch.stack(passed).any(0).any(1).all()",
        SEARCH,
    ),
    "one person is enough to stop": (
        "attacks/found.py",
        "torch.stack(passed).all(0).any(1).all()",
        "torch.stack(passed).all(0).any(1).any()",
        SEARCH,
    ),
    "two codes close together are two finds": (
        "attacks/found.py",
        "if cosines[index] >= threshold and not near:",
        "if cosines[index] >= threshold:",
        SEARCH,
    ),
    # controls
    "the control is the student itself": (
        "attacks/controls.py",
        "search([replace(person, student=generator)]",
        "search([person]",
        SEARCH,
    ),
    "strangers are sought in the untouched generator": (
        "attacks/controls.py",
        "replace(person, photo=photo, w_u=None)",
        "replace(person, student=generator, photo=photo, w_u=None)",
        SEARCH,
    ),
    "the stranger is the person": (
        "attacks/controls.py",
        "replace(person, photo=photo, w_u=None)",
        "replace(person, w_u=None)",
        SEARCH,
    ),
    "the excess is over the untouched generator": (
        "attacks/controls.py",
        "return self.best - self.strangers",
        "return self.best - self.untouched",
        SEARCH,
    ),
    "everybody has the same strangers": (
        "attacks/controls.py",
        'STRANGER_SEED + crc32(name.encode(errors="surrogateescape"))',
        "STRANGER_SEED",
        SEARCH,
    ),
    # likelihood
    "the likelihood weighs nothing": (
        "attacks/search.py",
        "weight * _likelihood(equipment).penalty(code)",
        "0 * _likelihood(equipment).penalty(code)",
        SEARCH,
    ),
    "a code is likely near 0": (
        "attacks/likelihood.py",
        "x = code[:, rows] - self.mean[:, rows]",
        "x = code[:, rows]",
        SEARCH,
    ),
    "the moment stands for its inverse": (
        "attacks/likelihood.py",
        "torch.linalg.inv(population_moment(generator))",
        "population_moment(generator)",
        SEARCH,
    ),
    # half
    "the attacker has the whole photo": (
        "attacks/search.py",
        'mask[_named(kept, half, "half")] = 1',
        'mask[_named(kept, half, "half")] = 1; mask[:] = 1',
        SEARCH,
    ),
    "the picture is compared whole with half a photo": (
        "attacks/search.py",
        "seen=had,",
        "seen=None,",
        SEARCH,
    ),
    # mixing
    "nothing is mixed": ("attacks/mixing.py", "ws[:, rows] = w_u[:, rows]", "ws[:] = w_u", RELEARNING),
    "coarse and fine are exchanged": (
        "attacks/mixing.py",
        '(("coarse", drawn[:split]), ("fine", drawn[split:]))',
        '(("fine", drawn[:split]), ("coarse", drawn[split:]))',
        RELEARNING,
    ),
    "mixtures are compared with the student": (
        "attacks/mixing.py",
        "person = render(generator, w_u)",
        "person = render(student, w_u)",
        RELEARNING,
    ),
    # relearning
    "the control is tuned where it draws the person": (
        "attacks/relearning.py",
        "relearn(generator, w_t, photo, **options)",
        "relearn(generator, w_u, photo, **options)",
        RELEARNING,
    ),
    "other people's pictures have the person's among them": (
        "attacks/relearning.py",
        "ws, photos = lessons or (w, photo)",
        "ws, photos = w, photo",
        RELEARNING,
    ),
    "curves are compared from the lower start": (
        "attacks/relearning.py",
        "cosine = max(curve[0][1], control[0][1])",
        "cosine = min(curve[0][1], control[0][1])",
        RELEARNING,
    ),
    "a curve always ends where the judge accepts": (
        "attacks/relearning.py",
        "if accepted is not None and stop:",
        "if accepted is not None:",
        RELEARNING,
    ),
    # robust
    "w_u is trained no more": (
        "robust.py",
        "codes = torch.cat([w_u if settings.pursuit else codes, found.to(codes)])",
        "codes = found.to(codes)",
        ROBUST,
    ),
    "what was found is not trained": (
        "robust.py",
        "unlearn(generator, codes, w_t, settings.training_of(index)",
        "unlearn(generator, w_u, w_t, settings.training_of(index)",
        ROBUST,
    ),
    "every round searches from the same starts": (
        "robust.py",
        "replace(self.attacker, seed=self.attacker.seed + SEED_STEP * index)",
        "self.attacker",
        ROBUST,
    ),
    "a pursuit begins anew": (
        "robust.py",
        '"embedder": embedder, "start": codes}',
        '"embedder": embedder, "start": None}',
        ROBUST,
    ),
    "every round begins anew": ("robust.py", "start if settings.once else student", "start", ROBUST),
    "what another run found is taken": ("robust.py", 'if facts.get("run") != run:', "if False:", ROBUST),
}
