"""What the documents say is true: commands parse, examples run, the test command is CI's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from sam3port.plugins import load_plugins
from tests.cli.conftest import call

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)


def documented_commands() -> list[str]:
    """Every `sam3port ...` of the documents: in shell blocks and between backticks."""
    found = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
        for line in [*lines, *re.findall(r"`(sam3port [^`\n]+)`", text)]:
            for part in re.split(r"&&|\|", line.split("  #")[0]):
                if re.match(r"\s*(\.venv/bin/)?sam3port ", part):
                    found.add(part.strip().removeprefix(".venv/bin/"))
    return sorted(found)


def words(command: str) -> list[str]:
    return [word for word in shlex.split(command)[1:] if word != "..."]


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command_parses(command: str) -> None:
    arguments = words(command)
    debug = arguments[0] == "--debug"
    name, *rest = arguments[1:] if debug else arguments
    if name in {"COMMAND", "upstream"} and "|" not in command and name == "COMMAND":
        return
    commands = load_plugins().commands()
    assert name in commands
    known: click.Command = commands[name]
    while isinstance(known, click.Group):
        name, *rest = [rest[0].split("|")[0], *rest[1:]]
        assert name in known.commands, f"{command}: no {name}"
        known = known.commands[name]
    known.make_context(name, rest, resilient_parsing=False)


def test_every_command_has_a_documented_example() -> None:
    used = {words(command)[0] for command in documented_commands()}
    assert set(load_plugins().commands()) <= used


def test_ci_runs_the_readmes_test_command() -> None:
    commands = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    (test_command,) = (line for line in commands if "tox" in line)
    assert test_command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readmes_two_commands_come_first() -> None:
    first, second, *_ = blocks(ROOT / "README.md", "sh")
    assert first.strip().endswith("sam3port demo")
    assert second.strip().endswith("tox")


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_readmes_example_segments_a_photograph_on_the_cpu(tmp_path: Path, upstream_root: Path) -> None:
    """Upstream's own Sam3Processor, the full model with random weights, a text and a box prompt."""
    assert upstream_root.is_dir()
    (example,) = (block for block in blocks(ROOT / "README.md", "python") if block.startswith("# segment.py"))
    (tmp_path / "segment.py").write_text(example, encoding="utf-8")
    ran = call("run", "segment.py", cwd=tmp_path, timeout=900)
    assert ran.returncode == 0, ran.stderr
    shapes = re.findall(r"torch\.Size\(\[([\d, ]+)\]\)", ran.stdout)
    masks, boxes, scores = ([int(n) for n in shape.split(",")] for shape in shapes)
    assert masks == [scores[0], 1, 512, 512]
    assert boxes == [scores[0], 4]
    assert 0 < scores[0] <= 200  # upstream keeps scores above the threshold, here 0
