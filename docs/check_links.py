"""Check the links of the built site: ``python docs/check_links.py docs/_build``.

Every href and src that stays within the folder has to lead to a file and, if it has a fragment, to
an id in it.  Links to other sites are left alone: nothing is fetched.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page refers to, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, int] = {}  # and the line of the first of each
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links and ids."""
        for name, value in attrs:
            if value is None:
                continue
            if name in ("href", "src"):
                self.links.setdefault(value, self.getpos()[0])
            elif name == "id" or (name == "name" and tag == "a"):
                self.ids.add(value)


@cache
def read(path: Path) -> Page:
    """A page, parsed once."""
    return Page(path.read_text(encoding="utf-8"))


def pages(folder: Path) -> list[Path]:
    """The pages of a site, but for the theme's templates, which lie among its static files."""
    return sorted(p for p in folder.rglob("*.html") if "_static" not in p.relative_to(folder).parts)


def broken(folder: Path) -> list[str]:
    """Each link that leads nowhere: where it is, what it is, what is missing."""
    found = []
    root = folder.resolve()
    for path in pages(root):
        for link, line in read(path).links.items():
            reason = _missing(link, path, root)
            if reason:
                found.append(f"{path.relative_to(root)}:{line}: {link}: {reason}")
    return found


def _missing(link: str, page: Path, root: Path) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(root):
        return "is outside the site"
    if not target.is_file():
        return "no such file"
    fragment = unquote(parts.fragment)
    if fragment and target.suffix == ".html" and fragment not in read(target).ids:
        return f"no such id in {target.relative_to(root)}"
    return None


def main() -> None:
    """Print what is broken and fail if anything is."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "index.html").is_file():
        sys.exit(f"usage: {sys.argv[0]} FOLDER, the folder of a built site")
    folder = Path(sys.argv[1])
    found = broken(folder)
    print(
        "\n".join([*found, f"{len(list(folder.rglob('*.html')))} pages, {len(found)} broken links"])
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
