"""Cameras on a sphere around a head, and the rays through their pixels.

>>> cam2world = look_at(yaw=15, pitch=7.3, radius=2.7, pivot=(0, 0, 0.2))
>>> origins, directions = pixel_rays(cam2world[None], intrinsics(18.837)[None], size=128)
>>> list(directions.shape)
[1, 16384, 3]

Axes follow OpenCV: in the camera x points right, y down, z into the picture. In the world +y is up and the face
looks along +z.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def intrinsics(field_of_view: float) -> Tensor:
    """[3, 3], in units of the picture's side, centre at one half. field_of_view: degrees, along the DIAGONAL.

    >>> intrinsics(18.837)[0, 0].item()                   # EG3D's focal length
    4.263
    """
    # EG3D rounds sqrt 2; the exact value would shift its focal length of 4.2634 by 0.015 %
    focal = 1 / (1.414 * math.tan(math.radians(field_of_view) / 2))
    return torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])


def look_at(
    yaw: float, pitch: float, radius: float = 2.7, pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Tensor:
    """Pose [4, 4], camera to world, of a camera `radius` away from the origin that looks at `pivot`.

    yaw, pitch: degrees. Positive yaw moves the camera toward +x, positive pitch upward; (0, 0) is straight in front.

    >>> look_at(yaw=0, pitch=0)[:3, 3], look_at(yaw=90, pitch=0)[:3, 3].round(decimals=3)      # where the camera is
    (tensor([0.0, 0.0, 2.7]), tensor([2.7, 0.0, 0.0]))
    """
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    level = math.cos(pitch)
    position = radius * torch.tensor([level * math.sin(yaw), math.sin(pitch), level * math.cos(yaw)])
    forward = F.normalize(torch.tensor(pivot) - position, dim=0)
    right = F.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    down = torch.linalg.cross(forward, right)
    pose = torch.eye(4)
    pose[:3] = torch.stack([right, down, forward, position], dim=1)
    return pose


def looking_along(
    yaw: float, pitch: float, radius: float = 2.7, pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> tuple[float, float]:
    """Yaw and pitch for `look_at`, so that the camera sees the pivot from the direction (yaw, pitch), in degrees.

    They differ where the pivot is not the origin, around which the camera moves.

    >>> looking_along(20.0, 10.0, pivot=(0.0, 0.0, 0.2))
    (18.5, 9.3)
    """
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    level = math.cos(pitch)
    way = torch.tensor([level * math.sin(yaw), math.sin(pitch), level * math.cos(yaw)], dtype=torch.float64)
    start = torch.tensor(pivot, dtype=torch.float64)
    ahead = way @ start
    x, y, z = (start + way * ((ahead**2 + radius**2 - start @ start).sqrt() - ahead)).tolist()
    return math.degrees(math.atan2(x, z)), math.degrees(math.asin(y / radius))


def camera_vector(cam2world: Tensor, intrinsics: Tensor) -> Tensor:
    """The 25 numbers on which EG3D's mapping network is conditioned: the pose row by row, then the intrinsics.

    >>> list(camera_vector(look_at(yaw=15, pitch=0), intrinsics(18.837)).shape)
    [25]
    """
    return torch.cat([cam2world.flatten(-2), intrinsics.flatten(-2)], dim=-1)


def pixel_rays(cam2world: Tensor, intrinsics: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Origins and unit directions, [N, size^2, 3] each, of the rays through the pixel centres, row by row.

    cam2world: [N, 4, 4]; intrinsics: [N, 3, 3].
    """
    centres = (torch.arange(size, device=cam2world.device, dtype=cam2world.dtype) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).view(1, -1, 3)
    in_camera = pixels @ torch.linalg.inv(intrinsics).mT
    directions = F.normalize(in_camera @ cam2world[:, :3, :3].mT, dim=-1)
    return cam2world[:, None, :3, 3].expand_as(directions), directions
