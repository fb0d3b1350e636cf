"""Build hook: makes the page (`web/`) with npm and puts it into the package.

Runs whenever the package is built or installed from its sources, editable too. A page that was made
from the same sources is kept, so that only changes cost. Where npm is absent or fails the package
is complete but for the page: `clap-musicgen serve` then says so and serves everything else.
"""

from __future__ import annotations

import shutil
import subprocess
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STAMP = ".sources"
"""Beside the bundle: the hash of what it was made from."""


class PageHook(BuildHookInterface):
    """Makes the bundle before the files of a wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's
        """Make the page unless it is there already."""
        sources = Path(self.root) / "web"
        page = Path(self.root) / "src/clap_musicgen/service/page"
        if not (sources / "package-lock.json").is_file():
            return  # a source distribution without them brings the page itself
        wanted, stamp = hash_of(sources), page / STAMP
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        npm = shutil.which("npm")
        if npm is None:
            self.app.display_warning(
                "npm is not installed: the package is built without its web page. "
                "Install Node.js 20 or newer and install the package again."
            )
            return
        try:
            for arguments in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
                subprocess.run([npm, *arguments], cwd=sources, check=True)
        except subprocess.CalledProcessError as error:  # without a network, for example
            self.app.display_warning(
                f"`{' '.join(map(str, error.cmd))}` failed: the package is built without its web "
                "page. Run it in web/ to see why, and install the package again."
            )
            return
        stamp.write_text(wanted)


def hash_of(sources: Path) -> str:
    """Hash names and contents of all sources of the page."""
    digest = blake2b(digest_size=16)
    for file in sorted(sources.rglob("*")):
        inside = file.relative_to(sources)
        if file.is_file() and inside.parts[0] != "node_modules":
            digest.update(f"{inside.as_posix()}\n{file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
