"""Build the documentation: `python docs/build_site.py [FOLDER]` → FOLDER/site, build/docs by default.

The pages of this folder are joined by those that are written elsewhere in the repository (`ELSEWHERE`)
and those made from the code (`MADE`). Links are written for the repository; those that leave this
folder are turned here to where their target lies in the site, and one without a target ends the
build, as any warning of zensical's strict mode does. Knows nothing of what the pages say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import make_cli_reference
import make_http_reference

DOCS = Path(__file__).parent
ROOT = DOCS.parent

ELSEWHERE = {
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "example-music.md": "examples/music/README.md",
    "examples.md": "examples/README.md",
    "mini-sources.md": "src/clap_musicgen/mini/SOURCES.md",
    "mini.md": "src/clap_musicgen/mini/README.md",
    "recipe.md": "recipes/mini/README.md",
}
"""Page of the site → file of the repository."""

MADE: dict[str, Callable[[], str]] = {
    "cli.md": make_cli_reference.page,
    "http.md": make_http_reference.page,
}
"""Page of the site → what writes it."""

FILES = "files"
"""Where in the site other files of the repository are put that pages link to."""

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^\s*(```|~~~)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", flags=re.S)


class BrokenLinkError(Exception):
    """A link without a target."""


def gather(pages: Path) -> None:
    """Write all pages, and what they link to, into the folder `pages`; BrokenLinkError."""
    home = {ROOT / source: page for page, source in ELSEWHERE.items()}
    home |= {DOCS / page: page for page in sorted(file.name for file in DOCS.glob("*.md"))}
    shutil.copytree(DOCS / "images", pages / "images")
    for source, page in home.items():
        text = _FRONT_MATTER.sub("", source.read_text(encoding="utf-8"))
        (pages / page).write_text(turn_links(text, source, home, pages), encoding="utf-8")
    for page, write in MADE.items():
        (pages / page).write_text(write(), encoding="utf-8")


def turn_links(text: str, source: Path, home: dict[Path, str], pages: Path) -> str:
    """Turn the relative links of a page, outside of code blocks, to where they lead in the site."""

    def turned(match: re.Match[str]) -> str:
        link = match.group(2)
        path, hash_sign, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match.group()
        target = Path(os.path.normpath(source.parent / path))
        if not target.is_file():
            raise BrokenLinkError(
                f"{source.relative_to(ROOT)} links to {link}: there is no such file"
            )
        place = home.get(target) or _bring(target, pages)
        return f"{match.group(1)}{place}{hash_sign}{anchor}{match.group(3)}"

    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(turned, line))
    return "".join(lines)


def _bring(target: Path, pages: Path) -> str:
    """Copy a file that is no page into the site → its place there."""
    images = DOCS / "images"
    inside = (
        target.relative_to(DOCS)
        if target.is_relative_to(images)
        else Path(FILES) / target.relative_to(ROOT)
    )
    place = pages / inside
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, place)
    return inside.as_posix()


def build(folder: Path) -> Path:
    """Gather and build in `folder`, which is emptied first → the site; CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pages").mkdir(parents=True)
    gather(folder / "pages")
    shutil.copyfile(DOCS / "zensical.toml", folder / "zensical.toml")
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=True)
    return folder / "site"


if __name__ == "__main__":
    try:
        print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"))
    except BrokenLinkError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
