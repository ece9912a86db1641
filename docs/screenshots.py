"""Pictures of the built site as a browser shows it, to be looked at: light, dark and narrow.

``python docs/screenshots.py`` after a build; needs Chromium (Debian, Ubuntu: ``apt install
chromium``).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent

PAGES = (
    "index", "guide", "hardware", "formats", "_generated/formats/float8_e4m3fn",
    "_generated/formats/nvfp4", "_generated/formats/fixed_s15_16", "rounding", "blocks", "products",
    "testing", "designs", "counting", "recipes", "benchmarks", "design", "exactness",
    "tutorials/formats", "tutorials/blocks", "tutorials/counting",
    "_generated/api", "_generated/api/fmtlib.encode",
)  # fmt: skip

# Widths in pixels, and Blink's preferredColorScheme.
LOOKS = {"light": (1280, 1), "dark": (1280, 0), "narrow": (400, 1), "narrow-dark": (400, 0)}


def browser() -> str:
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("no Chromium was found on the path (Debian, Ubuntu: apt install chromium)")


def take(chromium: str, page: Path, picture: Path, look: str, height: int) -> None:
    """One picture of one page."""
    width, scheme = LOOKS[look]
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--disable-quic", f"--user-data-dir={profile}",
                f"--blink-settings=preferredColorScheme={scheme}",
                f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri(),
            ],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip


def main() -> None:
    """Take all pictures, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=DOCS / "_build", help="folder of the site")
    parser.add_argument("--out", type=Path, default=DOCS / "_screenshots", help="where they go")
    parser.add_argument("--pages", nargs="+", default=PAGES, help="pages, without .html")
    parser.add_argument("--looks", nargs="+", default=list(LOOKS), choices=LOOKS)
    parser.add_argument("--height", type=int, default=2400, help="pixels from the top")
    given = parser.parse_args()
    chromium = browser()
    given.out.mkdir(parents=True, exist_ok=True)
    for page in given.pages:
        path = given.site.resolve() / f"{page}.html"
        if not path.is_file():
            sys.exit(f"{path} does not exist: build the site first")
        for look in given.looks:
            picture = given.out.resolve() / f"{page.replace('/', '-')}-{look}.png"
            take(chromium, path, picture, look, given.height)
            print(picture)


if __name__ == "__main__":
    main()
