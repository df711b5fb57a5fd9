"""Heads of people who do not exist, rendered from CC0 parts: every number of theirs is known.

>>> from guide_lib.generators.cameras import look_at
>>> person = describe(torch.randn(NUMBERS, generator=rng).numpy())
>>> photo = photograph(person, look_at(yaw=20, pitch=0), size=32)
>>> list(photo.image.shape)
[3, 32, 32]
"""

from guide_lib.heads.person import NAMED, NUMBERS, Person, another_day, describe
from guide_lib.heads.render import Photo, photograph, photographs
from guide_lib.heads.shade import Light

__all__ = ["NAMED", "NUMBERS", "Light", "Person", "Photo", "another_day", "describe", "photograph", "photographs"]
