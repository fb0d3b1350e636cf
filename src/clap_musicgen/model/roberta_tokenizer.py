"""RoBERTa's tokenizer from the files that transformers writes, without transformers.

`tokenizer.json` as it is, or `vocab.json` and `merges.txt` put together as RoBERTa's byte-level
BPE. Knows no weights; the caller says how many rows the embedding has.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.weight_files import read_json

FULL, VOCABULARY, MERGES, OPTIONS = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
)
TOKENIZER_PATTERNS = (FULL, VOCABULARY, MERGES, OPTIONS, "special_tokens_map.json")
START, PAD, END, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer, or a part of one."""
    return any((folder / name).is_file() for name in (FULL, VOCABULARY, MERGES))


def read_roberta_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a folder, or of a `tokenizer.json`.

    Raises:
        CheckpointError: there is none, a file is damaged, or it is not RoBERTa's kind.
    """
    file = path if path.is_file() else path / FULL
    if file.is_file():
        tokenizer = _read_full(file)
    elif has_tokenizer(path):
        tokenizer = _build(path)
    else:
        raise CheckpointError(
            f"no tokenizer in {path}: there is neither {FULL} nor {VOCABULARY} with {MERGES}"
        )
    if missing := [t for t in (START, END) if tokenizer.token_to_id(t) is None]:
        raise CheckpointError(
            f"{path}: the tokenizer has no {' and no '.join(missing)}: not RoBERTa's"
        )
    return tokenizer


def require_rows(tokenizer: Tokenizer, rows: int, *, source: str) -> None:
    """Refuse a tokenizer that gives ids for which the text tower has no embedding."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    token, highest = max(vocabulary.items(), key=lambda item: item[1])
    if highest >= rows:
        raise CheckpointError(
            f"the tokenizer from {source} gives ids up to {highest} ({token!r}), the text tower has "
            f"{rows} word embeddings: pass the tokenizer that it was trained with"
        )


def _read_full(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain Exception
        raise CheckpointError(f"cannot read {file} as a tokenizer ({error})") from error


def _build(folder: Path) -> Tokenizer:
    """Byte-level BPE as transformers' RobertaTokenizer sets it up (Liu et al. 2019, section 4.4)."""
    for name in (VOCABULARY, MERGES):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} has no {name}; a tokenizer is {FULL}, or {VOCABULARY} with {MERGES}"
            )
    # A word at the start of a text has no space before it, unless the files say otherwise.
    options = read_json(folder / OPTIONS) if (folder / OPTIONS).is_file() else {}
    spaced = options.get("add_prefix_space") is True
    try:
        tokenizer = Tokenizer(
            models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES), fuse_unk=False)
        )
    except Exception as error:  # tokenizers raises plain Exception
        raise CheckpointError(
            f"cannot read {VOCABULARY} and {MERGES} in {folder} ({error})"
        ) from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    ids = {t: tokenizer.token_to_id(t) for t in (START, PAD, END, UNKNOWN, MASK)}
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ids if ids[t] is not None])
    start, end = ids[START], ids[END]
    if start is not None and end is not None:
        tokenizer.post_processor = processors.RobertaProcessing(
            (END, end), (START, start), trim_offsets=True, add_prefix_space=spaced
        )
    return tokenizer
