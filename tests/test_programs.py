"""Small programs of the kind people start with, run as people run them.

Each is one file in programs/ that says ``import trio``, beside what it prints
(which is what it prints on Trio, too).
"""

from pathlib import Path

import pytest
from _processes import run_python

PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.py"))


def output_of(*arguments: object) -> str:
    result = run_python(*arguments)
    assert result.stderr == ""
    return result.stdout


def test_there_are_programs() -> None:
    names = [program.stem for program in PROGRAMS]
    assert names == ["channel", "nursery", "spinning", "threads", "timeout"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_with_another_import(program: Path, tmp_path: Path) -> None:
    source = program.read_text()
    changed = tmp_path / program.name
    changed.write_text(source.replace("\nimport trio\n", "\nimport trio_c as trio\n"))
    assert changed.read_text() != source
    assert output_of(changed) == program.with_suffix(".txt").read_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_unchanged(program: Path) -> None:
    output = output_of("-m", "trio_c", program)
    assert output == program.with_suffix(".txt").read_text()
