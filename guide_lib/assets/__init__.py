"""Pretrained files: which there are, their licences; fetch, check, convert (nothing here needs torch)."""

from guide_lib.assets.official import OFFICIAL, OfficialFile, conversion_note, convert, converted, converted_path
from guide_lib.assets.registry import ASSETS, Asset, cache_dir, fetch, find_asset, is_cached, shipped

__all__ = [
    "ASSETS",
    "Asset",
    "OFFICIAL",
    "OfficialFile",
    "cache_dir",
    "conversion_note",
    "convert",
    "converted",
    "converted_path",
    "fetch",
    "find_asset",
    "is_cached",
    "shipped",
]
