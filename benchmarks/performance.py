"""Put the tables that the other scripts wrote into docs/performance.md, each at its place.

    python benchmarks/speed.py clips lengths track text --markdown results/speed.md
    python benchmarks/performance.py docs/performance.md results/*.md

The document keeps its prose. What stands between `<!-- speed -->` and `<!-- /speed -->` becomes what
`speed.md` holds, and so on by the names of the files. Files whose place is missing are an error;
places for which no file is given stay as they are.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def placed(document: str, name: str, tables: str) -> str:
    """The document with `tables` between the marks of `name`.

    Raises:
        ValueError: the document has no such marks, or has them twice.
    """
    pattern = re.compile(
        rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL
    )
    changed, count = pattern.subn(lambda m: f"{m[1]}\n{tables.strip()}\n\n{m[2]}", document)
    if count != 1:
        raise ValueError(f"the marks of {name!r} stand {count} times in the document, not once")
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Put tables into a document.")
    parser.add_argument("document", type=Path)
    parser.add_argument("tables", type=Path, nargs="+", metavar="FILE.md")
    options = parser.parse_args(arguments)
    text = options.document.read_text(encoding="utf-8")
    try:
        for path in options.tables:
            text = placed(text, path.stem, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    part = options.document.with_name(f".{options.document.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(options.document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
