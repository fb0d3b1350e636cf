"""An S3 server for tests, and the environment that leads to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("s3_process.py")


@contextmanager
def s3_server(*, closed: bool = False) -> Iterator[dict[str, str]]:
    """Run a server with an empty bucket `music`; gives the environment variables that name it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", PROGRAM, *(["--closed"] if closed else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{told['port']}",
            "AWS_ACCESS_KEY_ID": told["key"],
            "AWS_SECRET_ACCESS_KEY": told["secret"],
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.communicate()
