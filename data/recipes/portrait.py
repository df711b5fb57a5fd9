"""Write data/portrait.png: the astronaut Eileen Collins as scikit-image ships her (NASA, public domain).

    python data/recipes/portrait.py

The pixels are untouched (512 x 512, RGB, 8 bits); only the PNG is written anew, without metadata.
"""

from pathlib import Path

from PIL import Image
from skimage import data

TARGET = Path(__file__).resolve().parents[1] / "portrait.png"


def main() -> None:
    """Write the portrait."""
    Image.fromarray(data.astronaut()).save(TARGET, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
