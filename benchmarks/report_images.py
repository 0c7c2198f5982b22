"""Make the pictures of docs/reports.md from the bundled pair and an evaluation on generated scenes.

    loc2 eval scenes --count 10 --window 50 --shift-range 5 --report evaluation_report
    python benchmarks/report_images.py --evaluation evaluation_report

Needs chromium, chromedriver and selenium for the pictures of pages. Nothing is drawn by hand.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver

from loc2.cli import main as loc2

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FIGURE_WIDTH_PX = 1000


def shrink(image: Image.Image, name: str, width_px: int) -> None:
    """Write a small WebP of at most a width."""
    image = image.convert("RGB")
    if image.width > width_px:
        size = (width_px, round(image.height * width_px / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    image.save(IMAGES / f"{name}.webp", quality=82, method=6)


def photograph(
    driver: Any, page: Path, width: int, height: int, *, scheme: str = "light", css: str = "body"
) -> Image.Image:
    """Return a page, or a part of it, as it looks in a browser of a width."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1.5, "mobile": width < 600},
    )
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(page.resolve().as_uri())
    box = driver.execute_script(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]",
        css,
    )
    clip = {
        "x": max(0, box[0]), "y": max(0, box[1]), "width": min(width, box[2]),
        "height": min(height, box[3]), "scale": 1,
    }  # fmt: skip
    if css == "body":
        clip |= {"x": 0, "y": 0, "width": width}
    shot = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    return Image.open(io.BytesIO(base64.b64decode(shot["data"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of its report")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"):
        options.add_argument(flag)
    program, driver_program = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver_program is None:
        raise SystemExit("chromium and chromedriver are needed")
    options.binary_location = program
    service = webdriver.ChromeService(driver_program)  # named, so that nothing is looked up online
    driver = webdriver.Chrome(options=options, service=service)
    try:
        with tempfile.TemporaryDirectory() as folder:
            demo = Path(folder)
            words = ["demo", "--figures", "all", "--report", "--quiet", "--output", folder]
            if loc2(words) != 0:
                raise SystemExit("loc2 demo failed")
            for name in ("matches", "overlay", "posterior", "points", "depth"):
                shrink(Image.open(demo / f"{name}.png"), f"figure_{name}", FIGURE_WIDTH_PX)
            page = demo / "report.html"
            shrink(photograph(driver, page, 1200, 1480), "report", 1200)
            shrink(photograph(driver, page, 390, 1100), "report_phone", 480)
        index = arguments.evaluation / "index.html"
        shrink(photograph(driver, index, 1200, 1400, css=".charts"), "evaluation", 1200)
        shrink(photograph(driver, index, 1200, 700, css="#worst"), "evaluation_cases", 1000)
        dark = photograph(driver, index, 390, 1100, scheme="dark")
        shrink(dark, "evaluation_phone", 480)
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
