"""Takes the pictures of the page that the documentation shows: `python -m tests.web.screenshots URL FOLDER OUT`.

URL is a running service; FOLDER holds three pictures, shown in the order of their names.
"""

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.web.conftest import ARGUMENTS, CHROMIUM
from tests.web.support import until, wait_done

MOST_BYTES = 300_000


def main(url: str, folder: Path, out: Path) -> None:
    """Three pictures: light, dark and zoomed in, on a phone."""
    first, second, third = sorted(path.name for path in folder.iterdir())
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)

        def opened(names: list[str], **options: Any) -> Any:
            page = browser.new_context(reduced_motion="reduce", **options).new_page()
            page.goto(url)
            page.set_input_files("#files", [folder / name for name in names])
            for nth in range(len(names)):
                wait_done(page, nth + 1)
            return page

        page = opened([first, second, third], viewport={"width": 1160, "height": 740})
        save(page, out / "page-light.png")

        page = opened([second, first], viewport={"width": 1160, "height": 740}, color_scheme="dark")
        for _ in range(2):
            page.click("#zoom-in")
        page.focus("#knob")
        page.keyboard.press("Shift+ArrowLeft")
        save(page, out / "page-dark.png")

        phone = {"width": 390, "height": 800}
        page = opened([third, second], viewport=phone, has_touch=True, device_scale_factor=2)
        save(page, out / "page-phone.png")
        browser.close()


def save(page: Any, path: Path) -> None:
    """With as many colours as fit into the bytes that a picture in the repository may take."""
    until(page, "[...document.images].every(image => image.complete)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 224, 192, 160, 128, 96):
        body = io.BytesIO()
        palette = shot.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=1)
        shot.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(body, "PNG", optimize=True)
        if body.tell() <= MOST_BYTES:
            break
    path.write_bytes(body.getvalue())
    print(f"{path}: {body.tell()} bytes, {colours} colours")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
