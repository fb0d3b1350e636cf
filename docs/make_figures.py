"""Draw the pictures of how-it-works.md: `python docs/make_figures.py` → docs/images/model.svg, loss.svg.

The picture of the model shows mini's own sizes, that of the loss real numbers: six of the example
pieces, six captions, their relevances by mini's text tower and the scores of mini. Knows SVG only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import torch

from clap_musicgen import ClapMusicGen
from clap_musicgen.library.vocabulary import bank
from clap_musicgen.training.caption_encoder import encode_captions
from clap_musicgen.training.objective import Objective, Texts

DOCS = Path(__file__).parent
MUSIC = DOCS.parent / "examples" / "music"

PAPER, INK, SOFT, LINE = "#fcfcfd", "#1d2430", "#5b6472", "#c9ced6"
AUDIO, WORDS, SPACE = "#0f766e", "#6d4bb8", "#b45309"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

PAIRS = (
    ("church-hymn", "church organ"),
    ("string-ballad", "slow strings"),
    ("tango", "latin dance"),
    ("merengue", "latin dance"),
    ("trance", "electronic dance"),
    ("heavy-metal", "heavy metal"),
)
"""Two captions are the same, as happens in every collection."""


@dataclass
class Picture:
    """An SVG in the making."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, words: str, *, size: int = 14, ink: str = INK, at: str = "middle"
    ) -> None:
        """Write one line, its baseline at y."""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{ink}" text-anchor="{at}">'
            f"{escape(words)}</text>"
        )

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str, line: str = "none"
    ) -> None:
        """Draw a rectangle with soft corners."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" '
            f'fill="{fill}" stroke="{line}"/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float, ink: str = SOFT) -> None:
        """Draw an arrow."""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" stroke="{ink}" stroke-width="1.5" '
            f'fill="none" marker-end="url(#tip)"/>'
        )

    def save(self, file: Path) -> None:
        """Write it."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" font-family="{FONT}"><title>{escape(self.title)}</title>'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            f'markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{SOFT}"/>'
            f'</marker></defs><rect width="100%" height="100%" rx="12" fill="{PAPER}"/>'
        )
        file.write_text("\n".join([head, *self.parts, "</svg>\n"]), encoding="utf-8")


def draw_model(model: ClapMusicGen) -> Picture:
    """Both towers from left to right, and the space they end in."""
    config = model.config
    picture = Picture(884, 330, "The two towers of the model and the space they share")
    layers = " and ".join(str(layer) for layer in config.layers)
    codebooks = config.codec.get("num_quantizers") or config.decoder["num_codebooks"]
    audio = [
        ("clip", f"{config.clip_seconds:g} s, mono", f"{model.sample_rate // 1000} kHz"),
        ("EnCodec", f"{codebooks} codes each", "1/50 s"),
        ("MusicGen", f"{config.decoder['hidden_size']} a frame,", f"layers {layers}"),
        ("pooling", "mean, deviation", "over the frames"),
        ("projection", "MLP to", f"{config.dim} numbers"),
    ]  # fmt: skip
    text = [
        ("words", "search text,", "caption or label"),
        ("tokenizer", "byte-level BPE,", f"{config.text['vocab_size']:,} entries"),
        ("RoBERTa", f"{config.text['hidden_size']} a token,", "last layer"),
        ("pooling", "mean", "over the tokens"),
        ("projection", "MLP to", f"{config.dim} numbers"),
    ]
    _tower(picture, 46, AUDIO, "Audio", audio)
    _tower(picture, 200, WORDS, "Text", text)
    _space(picture, 800, 165)
    return picture


def _tower(
    picture: Picture, y: float, ink: str, name: str, stages: list[tuple[str, str, str]]
) -> None:
    picture.text(14, y - 12, name, size=16, ink=ink, at="start")
    for number, (title, first, second) in enumerate(stages):
        x = 14 + number * 144
        picture.box(x, y, 126, 92, fill="#ffffff", line=ink)
        picture.text(x + 63, y + 31, title, size=15)
        picture.text(x + 63, y + 56, first, size=13, ink=SOFT)
        picture.text(x + 63, y + 75, second, size=13, ink=SOFT)
        if number:
            picture.arrow(x - 17, y + 46, x - 2, y + 46)


def _space(picture: Picture, x: float, y: float) -> None:
    """A circle of unit vectors: a sound, a text that fits, one that does not."""
    picture.arrow(718, 92, x - 56, y - 40)
    picture.arrow(718, 246, x - 56, y + 40)
    picture.parts.append(
        f'<circle cx="{x:g}" cy="{y:g}" r="66" fill="#ffffff" stroke="{SPACE}" stroke-width="1.5"/>'
    )
    for dx, dy, ink in ((39.7, -52.7, AUDIO), (54.2, -37.7, WORDS), (-7.6, 65.6, WORDS)):
        picture.parts.append(
            f'<path d="M{x:g} {y:g} l{dx} {dy}" stroke="{ink}" stroke-width="2"/>'
            f'<circle cx="{x + dx:g}" cy="{y + dy:g}" r="5" fill="{ink}"/>'
        )
    for line, words in enumerate(("unit vectors:", "a cosine says", "how well they fit")):
        picture.text(x, y + 90 + 18 * line, words, size=13, ink=SOFT)


def draw_loss(model: ClapMusicGen) -> Picture:
    """Relevances, what is wanted of each row, and what the model says, as three tables."""
    objective = Objective()
    captions = [caption for _, caption in PAIRS]
    wanted = objective.relevances(_texts(captions), torch.arange(len(PAIRS)))
    audio = torch.as_tensor(model.embed_audio([str(MUSIC / f"{name}.ogg") for name, _ in PAIRS]))
    scores = audio @ torch.as_tensor(model.embed_text(captions)).T
    target = torch.softmax(wanted / objective.relevance_temperature, dim=1)
    said = torch.softmax(scores / objective.temperature, dim=1)
    picture = Picture(900, 366, "From relevances to a loss, with real numbers of six pieces")
    tables = (
        (148, "relevance", "how alike captions are", wanted, SPACE),
        (402, "wanted", f"softmax of a row ÷ {objective.relevance_temperature:g}", target, WORDS),
        (656, "said", f"softmax of its cosines ÷ {objective.temperature:g}", said, AUDIO),
    )
    for x, title, below, values, ink in tables:
        _table(picture, x, 92, (title, below), values, ink)
    for row, (name, caption) in enumerate(PAIRS):
        picture.text(138, 107 + row * 38, name.replace("-", " "), size=13, at="end")
        picture.text(138, 122 + row * 38, caption, size=12, ink=SOFT, at="end")
    about = "a row: a piece of music, with its caption; a column: a caption, in the same order"
    picture.text(14, 28, about, ink=SOFT, at="start")
    picture.text(646, 212, "↔", size=22, ink=SOFT)
    loss = objective(audio, torch.as_tensor(model.embed_text(captions)), wanted)
    picture.text(
        450, 346,
        f"loss = cross-entropy of wanted and said, by rows and by columns: {loss:.2f} here",
        size=15,
    )  # fmt: skip
    return picture


def _texts(captions: list[str]) -> Texts:
    """What training knows of the captions: the text tower's states, less what all captions share."""
    everyday = bank()
    meaning = encode_captions([*captions, *everyday], model="mini")
    own = meaning[: len(captions)] - meaning.mean(dim=0)
    return Texts(captions, own, own, [frozenset[str]() for _ in captions])


def _table(
    picture: Picture,
    x: float,
    y: float,
    titles: tuple[str, str],
    values: torch.Tensor,
    ink: str,
) -> None:
    picture.text(x, y - 28, titles[0], size=16, ink=ink, at="start")
    picture.text(x, y - 9, titles[1], size=13, ink=SOFT, at="start")
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            left, top = x + column * 39, y + row * 38
            strength = min(max(value, 0.0), 1.0)
            picture.parts.append(
                f'<rect x="{left:g}" y="{top:g}" width="37" height="36" rx="4" fill="{ink}" '
                f'fill-opacity="{0.06 + 0.94 * strength:.2f}"/>'
            )
            shade = "#ffffff" if strength > 0.55 else INK
            shown = f"{value:.2f}".replace("-", "−")
            picture.text(left + 18.5, top + 23, shown, size=12, ink=shade)


def main() -> None:
    """Draw both."""
    mini = ClapMusicGen.from_pretrained("mini")
    draw_model(mini).save(DOCS / "images" / "model.svg")
    draw_loss(mini).save(DOCS / "images" / "loss.svg")


if __name__ == "__main__":
    main()
