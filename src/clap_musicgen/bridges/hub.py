"""The Hugging Face Hub: a checkpoint or run folder becomes a repository, in one commit.

    push_to_hub("runs/mine", "me/my-music", licence="cc-by-4.0")

What goes up is `config.json`, `model.safetensors`, `tokenizer.json` and a card, never the features,
states or paths beside them, and only after the folder has been loaded strictly. A README.md that lies
in the folder is used as it is. Knows files and huggingface_hub; reading from the Hub is
`ClapMusicGen.from_pretrained`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from clap_musicgen.bridges.model_card import card_fingerprint, card_licence, model_card
from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.checkpoint import CONFIG, TOKENIZER, WEIGHTS, read_config
from clap_musicgen.model.clap import ClapMusicGen

CARD = "README.md"
FILES = (CONFIG, WEIGHTS, TOKENIZER)
_TRANSPORT = cast(tuple[type[Exception], ...], (*HfHubHTTPError.__bases__, OSError))
"""The first is the HTTP client's own error, whichever client huggingface_hub uses."""
_FAILURES: tuple[type[Exception], ...] = (*_TRANSPORT, ValueError, RuntimeError)
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Push:
    """What went to the Hub, or would go.

    Attributes:
        repository: `owner/name`.
        files: name → bytes, the card included.
        card: its text.
        own_card: whether it is the README.md of the folder rather than one made of the report.
        url: of the commit; "" of a dry run.
    """

    repository: str
    files: dict[str, int]
    card: str
    own_card: bool
    url: str


def push_to_hub(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    licence: str | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> Push:
    """Check a folder and upload it as a model in a single commit.

    Args:
        folder: a checkpoint, or a run of `clap-musicgen train`.
        repository: `owner/name`; created if absent.
        private: create it so that only its owner sees it; an error if it is public already.
        dry_run: check everything, make the card, and send nothing.
        licence: for the card, an identifier of the Hub; None: the card says that none is stated.
        token: with write access; None: that of `hf auth login` or HF_TOKEN.
        revision: a branch, created if absent; None: main.

    Raises:
        InputError: the name is no repository's, or the folder's README.md contradicts what is asked.
        CheckpointError: the folder does not load, or the Hub does not take it; nothing is committed.
    """
    _check_name(repository)
    path = _checked_folder(folder)
    read_config(path)  # only our own format, whatever else from_pretrained reads
    model = ClapMusicGen.from_pretrained(path)
    own = _own_card(path)
    if own is not None:
        _check_own_card(own, path / CARD, model.fingerprint, licence)
    card = own
    if card is None:
        card = model_card(path, model=model, repository=repository, licence=licence)
    sizes = {name: (path / name).stat().st_size for name in FILES}
    sizes[CARD] = len(card.encode())
    url = ""
    if not dry_run:
        url = _upload(path, card, repository, private=private, token=token, revision=revision)
    return Push(repository, sizes, card, own is not None, url)


def write_card(
    folder: str | os.PathLike[str],
    *,
    repository: str | None = None,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    replace: bool = False,
) -> Path:
    """Write the card of a folder into its README.md, to be read and edited before a push.

    Raises:
        InputError: there is another README.md, and `replace` is not set.
        CheckpointError: the folder does not load, or cannot be written to.
    """
    if repository is not None:
        _check_name(repository)
    path = _checked_folder(folder)
    text = model_card(path, repository=repository, licence=licence, datasets=datasets)
    own = _own_card(path)
    if own is not None and own != text and not replace:
        raise InputError(
            f"{str(path / CARD)!r} exists and is another text: edit that one, move it away, or ask "
            "for it to be replaced (--replace)"
        )
    part = path / f".{CARD}.part"
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path / CARD)
    except OSError as error:
        raise CheckpointError(f"cannot write {str(path / CARD)!r} ({error})") from error
    return path / CARD


# --- before -----------------------------------------------------------------------------------


def _check_name(repository: str) -> None:
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(
            f"{repository!r} is no name of a repository: write owner/name, of letters, digits, -, _ "
            "and ."
        ) from error
    if "/" not in repository:
        raise InputError(f"{repository!r} has no owner: write owner/name, as in you/{repository}")


def _checked_folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(
            f"{str(path)!r} is no folder: name a checkpoint, as `clap-musicgen train` writes it"
        )
    return path


def _own_card(folder: Path) -> str | None:
    try:
        return (folder / CARD).read_bytes().decode("utf-8")  # as it is, line ends included
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {str(folder / CARD)!r} ({error})") from error


def _check_own_card(text: str, path: Path, fingerprint: str, licence: str | None) -> None:
    """A card may say anything but the untrue."""
    named = card_fingerprint(text)
    if named not in (None, fingerprint):
        raise InputError(
            f"{str(path)!r} is the card of other weights (fingerprint {named}, these have "
            f"{fingerprint}): make it again with `clap-musicgen card --replace`, or edit it"
        )
    stated = card_licence(text)
    if licence is not None and stated != licence:
        raise InputError(
            f"{str(path)!r} states the licence {stated or 'of nobody'}, you gave {licence}: make it "
            "again with `clap-musicgen card --replace --license`, or edit it"
        )


# --- the transfer -----------------------------------------------------------------------------


def _upload(
    folder: Path,
    card: str,
    repository: str,
    *,
    private: bool,
    token: str | None,
    revision: str | None,
) -> str:
    """Create what is missing and commit once → URL of the commit."""
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(folder / name)) for name in FILES
    ]
    operations.append(CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode()))
    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        # One that existed keeps its visibility, whatever was asked for.
        public = private and not api.model_info(repository).private
        if not public:
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            # upload_folder may split what it sends into several commits.
            commit = api.create_commit(
                repository, operations, commit_message="Upload checkpoint", revision=revision
            )
            return str(commit.commit_url)
    except _FAILURES as error:
        raise _refused(error, repository, token) from None
    raise CheckpointError(
        f"{repository!r} exists and is public, you asked for private: nothing was sent. Make it private "
        "in its settings, or name another"
    )


def _refused(error: Exception, repository: str, token: str | None) -> CheckpointError:
    """Why, and the way out. The cause is told here, and not chained: it may quote the token."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    code = getattr(getattr(cause, "response", None), "status_code", None)
    owner = repository.split("/")[0]
    way_out = {
        401: "log in with `hf auth login`, or set HF_TOKEN to a token with write access",
        403: f"the token may not write to {owner!r}: use one of a member with write access",
        404: f"there is no {owner!r} on the Hub, or your token may not see it: check the name",
        409: "something else changed it meanwhile: push again",
    }.get(code or 0)
    if isinstance(cause, OfflineModeIsEnabled):
        way_out = "unset HF_HUB_OFFLINE"
    elif code is None and isinstance(cause, _TRANSPORT):
        way_out = "check the network and HF_ENDPOINT, and push again"
    told = getattr(cause, "server_message", None) or str(cause) or type(cause).__name__
    told = " ".join(str(told).split())[:300]
    for secret in filter(None, (token, get_token())):
        told = told.replace(secret, "***")
    told = _TOKEN.sub("***", told)
    answer = f"{code}: {told}" if code else told
    ending = f": {way_out}" if way_out else ""
    return CheckpointError(
        f"the Hub did not take {repository!r} ({answer}); nothing was committed{ending}"
    )
