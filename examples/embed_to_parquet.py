"""Write the vectors of a folder into a Parquet file that pandas, DuckDB or Polars read.

python examples/embed_to_parquet.py ~/Music vectors.parquet
"""

import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from clap_musicgen import ClapMusicGen
from clap_musicgen.audio.files import find_audio
from clap_musicgen.errors import AudioError

MUSIC = Path(__file__).parent / "music"


def main(folder: str = str(MUSIC), out: str = "vectors.parquet") -> None:
    """Embed one file after the other; a broken one is named and left out."""
    model = ClapMusicGen.from_pretrained("mini")
    rows = []
    for path in find_audio([folder]):
        try:
            rows.append({"path": str(path), "embedding": model.embed_audio([path])[0].tolist()})
        except AudioError as error:
            print(f"left out: {error}")
    vectors = pa.list_(pa.float32(), model.dim)
    schema = pa.schema([("path", pa.string()), ("embedding", vectors)])
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), out)
    print(f"{len(rows)} vectors of {model.dim} numbers in {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
