"""Ask a running service over HTTP with nothing but Python's own library.

    clap-musicgen serve --music examples/music &
    python examples/ask_service.py "church organ"

With a token: CLAP_MUSICGEN_TOKEN=… python examples/ask_service.py
"""

import json
import os
import sys
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def get(address: str, path: str, **asked: object) -> dict[str, Any]:
    """GET a path of the service and read the JSON of its answer."""
    token = os.environ.get("CLAP_MUSICGEN_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    question = Request(f"{address}/api{path}?{urlencode(asked)}", headers=headers)  # noqa: S310
    with urlopen(question, timeout=30) as answer:  # noqa: S310 - an address of one's own
        found: dict[str, Any] = json.load(answer)
        return found


def main(words: str = "church organ", address: str = "http://127.0.0.1:8321") -> None:
    """Print what fits the words, and what sounds like the best of it."""
    matches = get(address, "/search", query=words, k=3)["matches"]
    for match in matches:
        print(f"{match['calibrated']:.2f}  {match['track']['title']}")
    best = matches[0]["track"]
    print(f"and like {best['title']}:")
    for match in get(address, f"/tracks/{best['id']}/similar", k=3)["matches"]:
        print(f"{match['calibrated']:.2f}  {match['track']['title']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
