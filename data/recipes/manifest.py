"""Enter the sha256 and size of a shipped file that a recipe has made anew: rewrites data/manifest.json.

    python data/recipes/manifest.py mobilestylegan-ffhq-heads.safetensors

A file that the manifest does not list yet also needs --recipe, --source, --licence and --description.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[1]
FACTS = ("recipe", "source", "licence", "description")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="names of files in data/")
    for fact in FACTS:
        parser.add_argument(f"--{fact}", help="of these files, instead of what the manifest says")
    args = parser.parse_args(argv)
    path = DATA / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    given = {fact: getattr(args, fact) for fact in FACTS if getattr(args, fact)}
    for name in args.names:
        content = (DATA / name).read_bytes()
        entry = manifest["files"].get(name, {}) | given
        if missing := [fact for fact in FACTS if fact not in entry]:
            parser.error(f"{name} is new; say also {', '.join(f'--{fact}' for fact in missing)}")
        sums = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest["files"][name] = sums | {fact: entry[fact] for fact in FACTS}
        print(f"{name}: {sums['bytes']} bytes, sha256 {sums['sha256']}")
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
