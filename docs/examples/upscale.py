"""Upscale a picture with the Python client: python upscale.py photo.jpg [http://127.0.0.1:8000]

Writes photo_x4.png, and photo_x2.png from the same pass. The client (clients/python) needs only httpx.
"""

import sys
from pathlib import Path

from lapsrn_client import UpscaleError, Upscaler


def show(done: int, total: int) -> None:
    """Print the progress; called repeatedly while the picture is upscaled."""
    print(f"\r{done} of {total} tiles", end="", file=sys.stderr)


def main() -> None:
    """Upscale the picture named on the command line."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    picture = Path(sys.argv[1])
    url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8000"
    try:
        with Upscaler(url) as upscaler:
            result = upscaler.upscale(picture, scale=4, progress=show)
            print(file=sys.stderr)
            result.save(picture.with_name(f"{picture.stem}_x4.png"))
            upscaler.level(result.id, 2).save(picture.with_name(f"{picture.stem}_x2.png"))
    except (UpscaleError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
