"""README.md and the guides in docs/ hold: each command is run, here on little data, or by .ci/run.

A command that is neither fails here: make it one that `t2igan` runs as it stands, or run its
script in a test and name that test in RUN_ELSEWHERE.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from input_pipeline.text import minilm
from t2igan.cli import main as cli

from . import readme_world

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("training", "data", "launch")]
PAGES = [TEXT, *(path.read_text(encoding="utf-8") for path in GUIDES)]
# Scripts that take minutes or a cluster: the file that runs them, whole or with stand-ins.
RUN_ELSEWHERE = {
    "scripts/benchmarks/input_speed.py": "tests/scripts/test_input_speed.py",
    "scripts/accelerator_check.py": "tests/scripts/test_accelerator_check.py",
    "scripts/benchmarks/prepare_speed.py": "tests/scripts/test_prepare_speed.py",
    "scripts/cluster/launch_slurm.sh": "tests/scripts/test_scripts.py",
    "scripts/cluster/tpu_slice.py": "tests/scripts/test_tpu_slice.py",
    "scripts/quickstart": ".ci/run",
    "scripts/environment": ".ci/run",
    "scripts/cluster/sweep_slurm_array.sh": "tests/scripts/test_scripts.py",
    "scripts/test": ".ci/run",
}
OUR_FOLDERS = ("configs", "input_pipeline", "scripts", "t2igan", "tests")


def blocks(text: str) -> Iterator[str]:
    """Code blocks, indented by four or fenced, without their indent."""
    lines = iter(["", *text.splitlines(), ""])
    block: list[str] = []
    before = ""
    for line in lines:
        if line.startswith("```"):
            block_lines = "\n".join(_until_fence(lines))
            if line.strip("`").strip() in ("", "sh", "bash", "python"):  # no diagram, no BibTeX
                yield block_lines
        elif line.startswith("    ") and (block or not before.strip()):
            block.append(line[4:])
        elif line.strip() or not block:
            if block:
                yield "\n".join(block)
            block = []
        else:
            block.append("")
        before = line
    if block:
        yield "\n".join(block)


def _until_fence(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("```"):
            return
        yield line


def is_python(block: str) -> bool:
    return re.match(r"\s*(import|from) ", block) is not None


def spans(text: str) -> list[str]:
    """What stands in single backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def commands(text: str) -> list[list[str]]:
    """Command lines of the blocks, as words; then those in the text, where they have flags."""
    lines = [
        line
        for block in blocks(text)
        if not is_python(block)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [span for span in spans(text) if re.match(r"t2igan \w+ --|scripts/\S+ ", span)]
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [words for words in found if words]


def _of_t2igan(words: list[str]) -> list[str] | None:
    """The words after `t2igan`, where it is that command."""
    if words[:3] == ["python", "-m", "t2igan"]:
        return words[3:]
    return words[1:] if Path(words[0]).name == "t2igan" else None


COMMANDS = [
    words
    for page in PAGES
    for words in commands(page)
    if words[0] != "pip" and not any("NAME.py" in word for word in words)
]
OURS = [rest for words in COMMANDS if (rest := _of_t2igan(words)) is not None]
OTHERS = [words for words in COMMANDS if _of_t2igan(words) is None]
PYTHON = [block for page in PAGES for block in blocks(page) if is_python(block)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all commands are run in, one after the other."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with readme_world.server() as found:
        yield found


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_each_command_runs(
    words: list[str], place: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any("sentence_encoder=minilm" in word or "sentences" in word for word in words):
        pytest.importorskip(minilm.PACKAGE, reason="MiniLM's weights are not installed")
    if any("--beam_options" in word for word in words) and not readme_world.BEAM_PYTHON.is_file():
        pytest.skip("no .venv-beam: scripts/environment requirements-beam.txt makes it")
    monkeypatch.chdir(place)
    readme_world.run(words, address)


@pytest.mark.parametrize("block", PYTHON)
def test_each_piece_of_python_runs(
    block: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_each_other_command_is_run_elsewhere(words: list[str]) -> None:
    script = next((word for word in words if word.startswith("scripts/")), "")
    assert script in RUN_ELSEWHERE, f"README.md: nothing runs `{' '.join(words)}`"
    assert (ROOT / script).is_file()
    assert Path(script).name in (ROOT / RUN_ELSEWHERE[script]).read_text()


def test_there_is_something_to_run() -> None:
    assert {words[0] for words in OURS} >= {"prepare", "download", "train", "sample", "report"}
    assert ["scripts/quickstart"] in OTHERS
    assert ["scripts/test"] in OTHERS
    assert PYTHON


def test_the_table_has_every_subcommand_and_no_other() -> None:
    named = re.findall(r"(?m)^\| `t2igan (\w+)` \|", TEXT)
    assert sorted(named) == sorted(cli.SUBCOMMANDS)
    used = {span.split()[1] for span in spans(TEXT) if re.match(r"t2igan \w", span)}
    assert used <= cli.SUBCOMMANDS.keys()


def test_named_files_extras_and_fields_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    words = [word for span in spans(TEXT) for word in span.split()]
    for word in words:
        if word.startswith(tuple(f"{folder}/" for folder in OUR_FOLDERS)):
            assert list(ROOT.glob(word.replace("NAME", "*"))), f"README.md: there is no {word}"
        for extra in re.findall(r"^(?:\.|t2igan)\[(\w+)\]$", word):
            assert extra in extras, f"README.md: there is no extra {extra}"
        if word.startswith("--config."):
            from t2igan.config import override

            override.load(["--config=configs/common.py", word])


def test_blocks_and_commands_are_found_however_they_are_written() -> None:
    text = (
        "Text\n\n    t2igan prepare --a=1 \\\n        --b='x y'  # why\n\n    scripts/x\n\n"
        "- item\n    not code\n\n```sh\n$ python -m t2igan train --c\n```\n\n"
        "    import t2igan\n    t2igan.load('x')\n\nand `t2igan sample --d` or `t2igan report`.\n"
    )
    assert commands(text) == [
        ["t2igan", "prepare", "--a=1", "--b=x y"],
        ["scripts/x"],
        ["python", "-m", "t2igan", "train", "--c"],
        ["t2igan", "sample", "--d"],
    ]
    assert [block for block in blocks(text) if is_python(block)] == [
        "import t2igan\nt2igan.load('x')\n"
    ]
