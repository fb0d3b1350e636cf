"""The bundled mini gives the vectors that were written down when it was made.

Another processor may sum in another order, and one of a clip's 2,000 codes may then fall on the
other side of a tie: hence a cosine, not equality of bits.
"""

from __future__ import annotations

import json

import numpy as np

from clap_musicgen.model.clap import ClapMusicGen
from golden.make import PATH, embeddings


def test_golden_vectors(mini: ClapMusicGen) -> None:
    stored = json.loads(PATH.read_text())
    assert mini.fingerprint == stored["fingerprint"], "other weights: run tests/golden/make.py"
    for name, vectors in embeddings(mini).items():
        cosines = (vectors * np.array(stored[name])).sum(axis=1)
        assert cosines.min() > 0.999, (name, cosines)
        if name == "texts":  # no codes, so nothing can flip
            assert np.abs(vectors - np.array(stored[name])).max() < 1e-4


def test_the_golden_inputs_differ(mini: ClapMusicGen) -> None:
    for vectors in embeddings(mini).values():
        cosines = vectors @ vectors.T
        assert cosines[~np.eye(3, dtype=bool)].max() < 0.999
