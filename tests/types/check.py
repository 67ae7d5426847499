"""Are the types right? Asks mypy and pyright, about trio_c and about Trio.

    python tests/types/check.py [CHECK...]

in an environment that has both, and what requirements.txt says beside it.
The checks, all of them by default:

* package: the package itself passes ``mypy --strict``;
* stubtest: what the stubs and annotations say is what is there at run time,
  except what allowlist.txt excuses;
* programs: the programs in ``programs/`` are right, and the mistakes in
  wrong.py are found, with either library, by either type checker;
* upstream: they say the same about the type tests inside Trio's wheel;
* surface: they give every public name and attribute the same type;
* completeness: pyright finds no smaller part of the public interface typed
  than of Trio's.

Exit status: 0 if all is well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import surface

HERE = Path(__file__).parent
LIBRARIES = ["trio", "trio_c"]

# What pyright is told about the programs: strict, but they may do useless
# things, and see unknown types where mistakes are made.
PYRIGHT = {
    "typeCheckingMode": "strict",
    "enableTypeIgnoreComments": False,  # those are mypy's
    "reportUnnecessaryTypeIgnoreComment": "error",
    **dict.fromkeys(
        """
        reportPrivateUsage reportUnknownArgumentType reportUnknownLambdaType
        reportUnknownMemberType reportUnknownVariableType
        reportUntypedFunctionDecorator reportUnusedClass reportUnusedCoroutine
        reportUnusedExpression reportUnusedFunction reportUnusedVariable
        """.split(),
        False,
    ),
}


class Tools:
    """The type checkers, at work in a directory of their own."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.remark = ""  # to be shown with the verdicts
        self._env = {
            **os.environ,
            # pyright looks for the environment to use along the path.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
        }

    def run(self, command: str, *arguments: object, cwd: Path | None = None) -> str:
        # A tool that fails says why, and has found something to complain about.
        result = subprocess.run(
            [sys.executable, "-m", command, *map(str, arguments)],
            cwd=cwd or self.scratch,
            env=self._env,
            capture_output=True,
            text=True,
        )
        if result.stderr or result.returncode not in (0, 1):
            raise RuntimeError(f"{command}: {result.stderr or result.stdout}")
        return result.stdout

    def lay_out(self, name: str, library: str, sources: dict[str, str]) -> Path:
        """Write programs that say ``trio`` such that they use `library`."""
        folder = self.scratch / name / library
        folder.mkdir(parents=True)
        for file, text in sources.items():
            if library != "trio":
                text = re.sub(
                    r"^import trio$", f"import {library} as trio", text, flags=re.M
                )
                text = re.sub(r"^from trio\b", f"from {library}", text, flags=re.M)
            (folder / file).write_text(text)
        (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
        return folder

    def mypy(self, folder: Path, *arguments: str) -> list[str]:
        """What mypy says, as ``file:line: message``."""
        output = self.run(
            "mypy",
            "--strict",
            "--no-error-summary",
            f"--cache-dir={self.scratch / 'cache' / folder.name}",
            *arguments,
            ".",
            cwd=folder,
        )
        return output.splitlines()

    def pyright(self, folder: Path) -> list[str]:
        """What pyright says, as ``file:line: message``."""
        output = json.loads(self.run("basedpyright", "--outputjson", cwd=folder))
        return [
            f"{Path(item['file']).name}:{item['range']['start']['line'] + 1}:"
            f" {item['message']} [{item.get('rule')}]"
            for item in output["generalDiagnostics"]
        ]


def check_package(tools: Tools) -> Iterator[str]:
    yield from tools.run(
        "mypy", f"--config-file={HERE / 'mypy.ini'}", "--no-error-summary",
        f"--cache-dir={tools.scratch / 'cache' / 'package'}", "-p", "trio_c",
    ).splitlines()  # fmt: skip


def check_stubtest(tools: Tools) -> Iterator[str]:
    yield from tools.run(
        "mypy.stubtest", "trio_c", "--concise", "--ignore-disjoint-bases",
        "--allowlist", HERE / "allowlist.txt",
        "--mypy-config-file", HERE / "mypy.ini",
    ).splitlines()  # fmt: skip


def check_programs(tools: Tools) -> Iterator[str]:
    paths = sorted((HERE / "programs").glob("*.py"))
    sources = {path.name: path.read_text() for path in paths}
    for library in LIBRARIES:
        folder = tools.lay_out("programs", library, sources)
        for said in tools.mypy(folder) + tools.pyright(folder):
            yield f"{library}: {said}"
    # What is only so here.
    own = sorted((HERE / "programs" / "trio_c").glob("*.py"))
    folder = tools.lay_out(
        "own", "trio_c", {path.name: path.read_text() for path in own}
    )
    yield from tools.mypy(folder) + tools.pyright(folder)


def check_upstream(tools: Tools) -> Iterator[str]:
    import trio

    folder = Path(trio.__file__).parent / "_tests" / "type_tests"
    sources = {path.name: path.read_text() for path in folder.glob("*.py")}
    if not sources:
        yield f"there are no type tests in {folder}"
    said = {}
    for library in LIBRARIES:
        folder = tools.lay_out("upstream", library, sources)
        said[library] = {
            surface.normalized(line)
            for line in tools.mypy(folder) + tools.pyright(folder)
        }
    yield from (
        f"not said about Trio: {line}" for line in said["trio_c"] - said["trio"]
    )
    yield from (
        f"said about Trio only: {line}" for line in said["trio"] - said["trio_c"]
    )


def check_surface(tools: Tools) -> Iterator[str]:
    source, where = surface.program()
    answers: dict[str, dict[str, dict[int, str]]] = {"mypy": {}, "pyright": {}}
    for library in LIBRARIES:
        folder = tools.lay_out("surface", library, {"names.py": source})
        for tool, said in (
            ("mypy", tools.mypy(folder)),
            ("pyright", tools.pyright(folder)),
        ):
            found = answers[tool][library] = {}
            for line in said:
                match = re.match(r"names\.py:(\d+): (.*?)( \[\w+\])?$", line, re.S)
                assert match is not None, line
                # pyright repeats the question.
                answer = re.sub(r'^Type of "[^"]*" is ', "", match[2])
                found[int(match[1])] = surface.normalized(answer)
    meant = set(surface.MEANT)
    for line, question in where.items():
        for tool, found in answers.items():
            theirs, ours = (found[library].get(line) for library in LIBRARIES)
            if theirs == ours:
                continue
            if question in surface.MEANT:
                meant.discard(question)
            else:
                yield f"{tool}: {question}\n  trio    {theirs}\n  trio_c  {ours}"
    for question in sorted(meant):
        yield f"{question} does not differ any more"


def check_completeness(tools: Tools) -> Iterator[str]:
    scores = {}
    for library in LIBRARIES:
        output = json.loads(
            tools.run(
                "basedpyright", f"--verifytypes={library}", "--ignoreexternal",
                "--outputjson",
            )
        )  # fmt: skip
        completeness = output["typeCompleteness"]
        scores[library] = completeness["completenessScore"]
        if library == "trio_c":
            unknown = [
                f"  {symbol['name']}: {item['message']}"
                for symbol in completeness["symbols"]
                if symbol["isExported"]
                and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"])
                for item in symbol["diagnostics"]
            ]
    figures = (f"{name} {score:.2%}" for name, score in scores.items())
    tools.remark = f"completeness: {', '.join(figures)}; "
    if scores["trio_c"] < scores["trio"]:
        yield "less complete than Trio:"
        yield from unknown


CHECKS: dict[str, Callable[[Tools], Iterator[str]]] = {
    "package": check_package,
    "stubtest": check_stubtest,
    "programs": check_programs,
    "upstream": check_upstream,
    "surface": check_surface,
    "completeness": check_completeness,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=" ".join(CHECKS))
    names = parser.parse_args().checks or list(CHECKS)
    if unknown := set(names) - set(CHECKS):
        parser.error(f"no such check: {' '.join(unknown)}")
    began = time.perf_counter()

    def timed(name: str) -> tuple[list[str], float]:
        started = time.perf_counter()
        problems = list(CHECKS[name](tools))
        return problems, time.perf_counter() - started

    failed = 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        tools = Tools(Path(scratch))
        for name, future in {name: pool.submit(timed, name) for name in names}.items():
            problems, took = future.result()
            failed += bool(problems)
            verdict = f"FAILED, {len(problems)} problems" if problems else "good"
            print(f"{name}: {verdict}, {took:.1f} s", *problems, sep="\n  ", flush=True)
    print(f"{tools.remark}{time.perf_counter() - began:.0f} seconds")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
