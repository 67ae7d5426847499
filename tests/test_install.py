"""A source distribution, the wheel built from it, and both outside a checkout."""

from __future__ import annotations

import os
import subprocess
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "programs"

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="there are no sources to build from"
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    inherited = {
        k: v
        for k, v in os.environ.items()
        if k not in ("PYTHONPATH", "TRIO_C_DROPIN", "TRIO_C_SANITIZE")
    }
    result = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment."""
    where = tmp_path_factory.mktemp("environment")
    venv.create(where, with_pip=True)
    return where / "bin" / "python"


@pytest.fixture(scope="module")
def sdist(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    place = tmp_path_factory.mktemp("sdist")
    run(environment, "-m", "pip", "install", "-q", "build", cwd=place)
    run(environment, "-m", "build", "-q", "--sdist", "-o", place, ROOT, cwd=place)
    [archive] = place.glob("*.tar.gz")
    assert archive.name == "trio_c-0.34.0.1.tar.gz"
    with tarfile.open(archive) as file:
        file.extractall(place, filter="data")
    return place / "trio_c-0.34.0.1"


@pytest.fixture(scope="module")
def wheel(
    environment: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel that this source distribution gives."""
    place = tmp_path_factory.mktemp("wheel")
    run(environment, "-m", "build", "-q", "--wheel", "-o", place, sdist, cwd=place)
    [wheel] = place.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(environment: Path, wheel: Path) -> Path:
    """The interpreter of an environment that has the wheel, and nothing else."""
    run(environment, "-m", "pip", "install", "-q", wheel, cwd=wheel.parent)
    return environment


def tree(root: Path, *folders: str) -> set[str]:
    """The files that should be in a distribution, relative to `root`."""
    skipped = {"__pycache__", "build", ".cache", ".pytest_cache"}
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
        and not skipped & {*path.relative_to(root).parts}
        and path.suffix not in (".so", ".pyc")
        and path.name != ".gitignore"
    }


def test_the_sdist_is_complete(sdist: Path) -> None:
    folders = ["csrc", "trio_c", "tests", "tools", "examples", "docs", ".ci"]
    assert tree(ROOT, *folders) <= tree(sdist, *folders)
    for name in """
        pyproject.toml setup.py MANIFEST.in Makefile trio_c_dropin.pth README.md
        CONTRIBUTING.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
        """.split():
        assert (sdist / name).read_text() == (ROOT / name).read_text()


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        [metadata] = [name for name in names if name.endswith("/METADATA")]
        text = file.read(metadata).decode()
        [points] = [name for name in names if name.endswith("/entry_points.txt")]
        assert "_hypothesis_plugin_setup" in file.read(points).decode()
    package = {name for name in names if ".dist-info/" not in name}
    [native] = [name for name in package if name.startswith("trio_c/_native.c")]
    assert native.endswith(".so")
    assert package == tree(ROOT, "trio_c") | {native, "trio_c_dropin.pth"}
    fields = [line.split(": ", 1) for line in text.split("\n\n")[0].splitlines()]
    assert ["License-Expression", "MIT OR Apache-2.0"] in fields
    assert ["Requires-Python", ">=3.11"] in fields
    needed = [value for key, value in fields if key == "Requires-Dist"]
    assert sorted(needed) == ["idna", "outcome", "sniffio"]


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.py")), ids=lambda p: p.stem)
def test_programs_run_outside_the_checkout(
    installed: Path, program: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "program.py"
    copy.write_text(program.read_text())
    output = run(installed, "-m", "trio_c", copy, cwd=tmp_path)
    assert output == program.with_suffix(".txt").read_text()


def test_it_is_the_installed_package_that_ran(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib.metadata as metadata
import trio_c
print(trio_c.__file__, trio_c._native.__file__)
assert metadata.version("trio_c") == trio_c.__version__
"""
    prefix = str(installed.parents[1])
    files = run(installed, "-c", code, cwd=tmp_path).split()
    assert all(file.startswith(prefix) for file in files), files


def test_the_drop_in_reaches_child_processes(installed: Path, tmp_path: Path) -> None:
    child = "import trio; print(trio.__spec__.name)"
    code = f"""
import subprocess, sys
import trio_c
trio_c.install()
subprocess.run([sys.executable, "-c", {child!r}], check=True)
"""
    assert run(installed, "-c", code, cwd=tmp_path) == "trio_c\n"


def test_the_variable_alone_is_enough(installed: Path, tmp_path: Path) -> None:
    code = "import trio; print(trio.__spec__.name)"
    output = run(installed, "-c", code, cwd=tmp_path, TRIO_C_DROPIN="1")
    assert output == "trio_c\n"


def test_another_build_after_a_change_of_switches(
    environment: Path, tmp_path: Path
) -> None:
    """A debug build does not get an object or library of a plain one."""
    run(environment, "-m", "pip", "install", "-q", "setuptools>=77", cwd=tmp_path)
    copy = tmp_path / "source"
    (copy / "csrc").mkdir(parents=True)
    (copy / "trio_c").mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "trio_c_dropin.pth"):
        (copy / name).write_text((ROOT / name).read_text())
    (copy / "trio_c" / "__init__.py").write_text("__version__ = '1'\n")
    (copy / "csrc" / "module.c").write_text(
        """\
#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "_native"};
PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC
PyInit__native(void)
{
    PyObject *module = PyModule_Create(&def);
#ifdef TRIO_C_DEBUG
    PyModule_AddIntConstant(module, "debug", 1);
#else
    PyModule_AddIntConstant(module, "debug", 0);
#endif
    return module;
}
"""
    )
    seen = []
    for debug in ("0", "1", "0"):
        run(
            *(environment, "setup.py", "-q", "build"),
            cwd=copy,
            TRIO_C_DEBUG=debug,
        )
        [library] = copy.glob("build/lib*/trio_c/_native*.so")
        code = f"""
import importlib.util as util
spec = util.spec_from_file_location("_native", {str(library)!r})
print(util.module_from_spec(spec).debug)
"""
        seen.append(run(environment, "-c", code, cwd=tmp_path).strip())
    assert seen == ["0", "1", "0"]
