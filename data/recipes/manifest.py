"""Enter the sha256 and size of a shipped file that a recipe has made anew: rewrites data/manifest.json.

python data/recipes/manifest.py mobilestylegan-ffhq-heads.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="names of files in data/ that the manifest lists")
    path = DATA / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in parser.parse_args().names:
        content = (DATA / name).read_bytes()
        entry = manifest["files"][name]
        entry["sha256"], entry["bytes"] = hashlib.sha256(content).hexdigest(), len(content)
        print(f"{name}: {entry['bytes']} bytes, sha256 {entry['sha256']}")
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
