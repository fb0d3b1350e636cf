"""The allocator switch: it takes on glibc, and changes no number."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHILD = """
from clap_musicgen.model.runtime import keep_large_buffers
import torch
torch.manual_seed(0)
conv, x = torch.nn.Conv1d(1, 8, 7), torch.randn(1, 1, 400_000)
before = conv(x)
took = keep_large_buffers()
print(took, torch.equal(before, conv(x)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["True", "True"]
