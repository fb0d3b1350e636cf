"""A model card for the Hugging Face Hub, made of what a run folder holds and of nothing else.

    print(model_card("runs/mine", repository="me/my-music", licence="cc-by-4.0"))

Front matter with the results in the Hub's `model-index`, then what the model is, how to use it, what
it was trained on, its settings, every evaluation with interval and chance, and its limits. What the
run does not know is said to be unknown. A licence is stated where one is given, never guessed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

import clap_musicgen
from clap_musicgen.bridges.model_index import eval_results
from clap_musicgen.bridges.run_report import Evaluation, Run, Training, read_run
from clap_musicgen.errors import CheckpointError
from clap_musicgen.evaluation import report
from clap_musicgen.model.checkpoint import BUNDLED, find_checkpoint
from clap_musicgen.model.clap import ClapMusicGen

LIBRARY = "clap-musicgen"
TAGS = ["music", "audio-text-retrieval", "music-retrieval", "embeddings"]


def model_card(
    folder: str | os.PathLike[str],
    *,
    model: ClapMusicGen | None = None,
    repository: str | None = None,
    licence: str | None = None,
    datasets: Sequence[str] = (),
) -> str:
    """The text of `README.md` for a checkpoint or run folder.

    Args:
        folder: what `clap-musicgen train` wrote, with the evaluations that lie in it.
        model: what is in the folder, where it is loaded already.
        repository: its future name on the Hub, `owner/name`.
        licence: an identifier of the Hub, as `cc-by-4.0`; None: the card says that none is stated.
        datasets: Hub ids of what it was trained on.

    Raises:
        CheckpointError: the folder is no checkpoint, or its reports are damaged.
    """
    path = Path(folder).expanduser()
    model = model or ClapMusicGen.from_pretrained(path)
    run = read_run(path, fingerprint=model.fingerprint)
    title = _title(model, path, repository)
    sections = [
        f"# {title}",
        "A joint audio-text embedding model of music: recordings and words become unit vectors of "
        f"one space of {model.dim} dimensions, and their product says how well they fit.",
        _usage(repository),
        _what_it_is(model),
        _trained_on(run, datasets),
        _settings(run.training),
        *_scores(run),
        _limits(run),
        _licence(licence),
        f"Made with {LIBRARY} {clap_musicgen.__version__}. Fingerprint of config, weights and "
        f"preprocessing: `{model.fingerprint}`.",
    ]
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="feature-extraction",
        tags=TAGS,
        license=licence,
        datasets=list(datasets) or None,
        model_name=title,
        eval_results=list(eval_results(run)) or None,
    )
    if not data.eval_results:
        data.eval_results = data.model_name = None  # a name stands in the model-index alone
    body = "\n\n".join(part for part in sections if part)
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def card_fingerprint(text: str) -> str | None:
    """The fingerprint that a card of `model_card` names; None where it names none."""
    found = re.search(r"[Ff]ingerprint[^`\n]*`([0-9a-f]{32})`", text)
    return found[1] if found else None


def card_licence(text: str) -> str | None:
    """The licence in a card's front matter; None where there is none.

    Raises:
        CheckpointError: the front matter is not YAML.
    """
    try:
        licence = ModelCard(text, ignore_metadata_errors=True).data.get("license")
    except Exception as error:  # a yaml error or a ValueError, by what is wrong
        raise CheckpointError(
            f"the front matter of README.md cannot be read ({str(error).splitlines()[0]})"
        ) from error
    return str(licence) if licence else None


# --- sections ---------------------------------------------------------------------------------


def _title(model: ClapMusicGen, folder: Path, repository: str | None) -> str:
    if repository:
        return repository.split("/")[-1]
    own = model.config.name
    return own if own != "unnamed" else folder.resolve().name


def _usage(repository: str | None) -> str:
    name = repository or "FOLDER"
    return f"""## How to use it

```sh
pip install {LIBRARY}
clap-musicgen index ~/Music --model {name}
clap-musicgen search "dark metal" --model {name}
```

```python
from clap_musicgen import ClapMusicGen

model = ClapMusicGen.from_pretrained("{name}")
music = model.embed_audio(["a.mp3", "b.flac"])  # (2, D) unit vectors, whole tracks of any length
words = model.embed_text(["dark metal", "lofi jazz"])
print(words @ music.T)  # cosines
```"""


def _what_it_is(model: ClapMusicGen) -> str:
    config, audio, text = model.config, model.audio_encoder, model.text_encoder
    decoder, roberta = audio.decoder.config, text.roberta.config
    layers = ", ".join(map(str, config.layers))
    rows = [
        (
            "codec",
            f"EnCodec encoder, {audio.sample_rate} Hz, {audio.sample_rate / audio.hop:g} frames a "
            f"second, {audio.codebooks} codebooks of {decoder.vocab_size}",
            _values(audio.codec),
        ),
        (
            "decoder",
            f"MusicGen decoder, {len(audio.decoder.layers)} layers of {audio.hidden_size}; layers "
            f"used: {layers}; pooling: {config.pooling}; delay pattern: "
            f"{'yes' if config.delay else 'no'}; positions: {config.positions}",
            _values(audio.decoder),
        ),
        (
            "text",
            f"RoBERTa, {roberta.num_hidden_layers} layers of {roberta.hidden_size}, "
            f"{roberta.vocab_size} tokens; mean over the tokens",
            _values(text),
        ),
        (
            "projections",
            f"two MLPs to {config.dim} dimensions",
            _values(model.audio_projection) + _values(model.text_projection),
        ),
    ]
    lines = [f"| {part} | {what} | {count / 1e6:.2f} M |" for part, what, count in rows]
    table = "\n".join(["| part | what | values |", "| --- | --- | ---: |", *lines])
    return (
        f"## What it is\n\n{table}\n\nClips of at most {config.clip_seconds:g} s; a longer track is "
        "covered by several, and its vector is their mean, weighted by seconds. Loudness: "
        f"{config.loudness}."
    )


def _values(module: object) -> int:
    state = module.state_dict()  # type: ignore[attr-defined]
    return sum(tensor.numel() for tensor in state.values())


def _trained_on(run: Run, datasets: Sequence[str]) -> str:
    parts = ["## What it was trained on"]
    if datasets:
        parts.append("Data sets: " + ", ".join(f"`{name}`" for name in datasets) + ".")
    training = run.training
    if training is None:
        parts.append(
            "The folder holds no report of a training run (`report.json`), so what it was trained on "
            "is not known here."
        )
        return "\n\n".join(parts)
    shown = ", ".join(f"{count} {split}" for split, count in training.examples.items())
    parts.append(
        f"Training started from `{training.start}`{_licence_of_start(training.start)} and saw a "
        f"manifest of captioned tracks: {shown}. {_plural(training.failed, 'file')} could not be "
        "used."
    )
    seen = [f"{run.clips} clips" if run.clips else "", f"{run.captions} captions" if run.captions
            else ""]  # fmt: skip
    if any(seen):
        parts.append(f"The train split gave {' and '.join(filter(None, seen))}.")
    parts.append(
        "Which tracks these were, by whom, under which licences and in which languages the captions "
        "are, the run does not record" + (" beyond that." if datasets else ".")
    )
    return "\n\n".join(parts)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _licence_of_start(start: str) -> str:
    """What is known of it: the licence of a bundled model."""
    if start not in BUNDLED:
        return ""
    licence = card_licence((find_checkpoint(start) / "README.md").read_text(encoding="utf-8"))
    return f" (bundled with {LIBRARY}, licence `{licence}`)" if licence else ""


def _settings(training: Training | None) -> str:
    if training is None:
        return ""
    rows = [f"| `{name}` | {_cell(value)} |" for name, value in training.settings.items()]
    return "\n".join(["## Settings", "", "| setting | value |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _scores(run: Run) -> Iterator[str]:
    yield "## What it scores"
    if run.training is None and not run.evaluations:
        yield (
            "The folder holds no report and no evaluation of these weights: how good they are is not "
            "known here. `clap-musicgen evaluate` measures it."
        )
    if run.training is not None:
        yield _comparison(run.training)
    for evaluation in run.evaluations:
        yield from _evaluation(evaluation)
    if run.left_out:
        yield "Left out: " + "; ".join(run.left_out) + "."


def _comparison(training: Training) -> str:
    test, counts = training.test, training.examples
    start = _cell(training.start)
    rows = [
        f"| split | tracks | text→music MRR of {start} | of this model | chance |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| val (chose step {training.best_step} of {training.steps}) | {counts.get('val', 0)} "
        f"| {training.first:.3f} | {training.best:.3f} | |",
        f"| test | {counts.get('test', 0)} | {test.before:.3f} | {test.after:.3f} "
        f"| {test.chance:.3f} |",
    ]
    interval = f" [{test.low:+.3f}, {test.high:+.3f}]" if math.isfinite(test.low) else ""
    return (
        f"### Against {start}\n\nOn tracks that took no part in training, {test.queries} captions: "
        f"**{test.verdict}**, difference {test.difference:+.3f}{interval} (95 % interval of a paired "
        "bootstrap over the captions).\n\n" + "\n".join(rows)
    )


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    about = evaluation.about
    named = about.get("benchmark") or ("own data" if evaluation.name == "." else evaluation.name)
    failed = len(about.get("failed") or [])
    yield (
        f"### {_cell(str(named))}, split {about.get('split', 'unknown')}\n\n"
        f"{about.get('pieces', 'an unknown number of')} pieces; {_plural(failed, 'file')} could not "
        f"be used. Source: {_cell(str(about.get('source') or 'a manifest of the maker'))}."
    )
    text = report.to_markdown(
        evaluation.results, robustness=evaluation.robustness, prompts=about.get("prompts") or ()
    )
    yield re.sub(r"^## ", "#### ", text.rstrip(), flags=re.MULTILINE)


def _limits(run: Run) -> str:
    points = [
        "Nothing is known of music or languages beyond what it was trained on and measured with.",
    ]
    if run.training is not None:
        points.append(
            f"The interval of the comparison covers other captions of the same kind "
            f"({run.training.test.queries} were asked), not other music, nor another training seed."
        )
    if not any(evaluation.about.get("benchmark") for evaluation in run.evaluations):
        points.append("It was not measured on a public benchmark.")
    if not any(evaluation.robustness for evaluation in run.evaluations):
        points.append("How far noise, lossy formats or lost bandwidth move it was not measured.")
    return "## Limits\n\n" + "\n".join(f"- {point}" for point in points)


def _licence(licence: str | None) -> str:
    if licence:
        return f"## Licence\n\n`{licence}`, as stated by whoever published this model."
    return "## Licence\n\nNone is stated. Ask whoever published this model before you use it."
