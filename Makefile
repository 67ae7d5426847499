# The few verbs of this project. Everything happens in a virtual environment
# under build/; PYTHON says which interpreter it is made from.
#
#   make demo       build in a fresh environment, run the echo demo
#   make test       build, run our tests and upstream's (ARGS="-k ..." for ours)
#   make test-kqueue   the tests on Linux, with the kqueue backend
#   make test-c     the C tests, which need no Python
#   make test-c-windows   the same, cross-compiled for Windows, under wine
#   make test-windows   ours and upstream's on Windows' Python under wine (ARGS="test_socket")
#   make cross-compile   compile for other systems (ARGS="x86_64-freebsd")
#   make types      the types, as mypy and pyright see them, and Trio's beside
#   make differential     random programs, on Trio and here (docs/reliability.md)
#   make hostile    random programs that misuse everything (docs/reliability.md)
#   make soak       millions of operations, memory watched (ARGS="--seconds 60 spawns")
#   make load       10,000 connections, half of them hostile (ARGS="--connections 500")
#   make stress     signals, forks, threads, interpreters, imports (ARGS="--long")
#   make inject     allocations and system calls that fail, one by one
#   make test-ecosystem   other people's libraries on top (docs/ecosystem.md)
#   make test-suites      all test suites of those libraries (ARGS="anyio httpx")
#   make bench      the benchmarks, beside peers (ARGS="--quick"; benchmarks/)
#   make instructions   count those of hot paths, and make that their limits
#   make build      build and install into the environment only
#   make analyze    static analysers over the C sources (ARGS="clang tidy")
#   make races      threads under ThreadSanitizer (ARGS="--rounds 100")
#   make races-tests   our tests of threads, under the same
#   make valgrind   the C tests, under valgrind
#   make lint       the rules that programs can check
#   make clean      remove everything that was built
#
# docs/building.md has the switches of the build (TRIO_C_DEBUG=1 and others).

PYTHON ?= python3
VENV ?= build/venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q
ARGS ?=

.PHONY: demo build test test-c test-c-windows test-kqueue test-native \
	test-upstream test-windows types cross-compile lint clean test-ecosystem test-suites \
	bench instructions differential hostile soak load stress inject analyze races races-tests valgrind

demo:
	rm -rf build/demo
	$(MAKE) --no-print-directory build VENV=build/demo
	build/demo/bin/python examples/echo_demo.py

build: $(BIN)/python
	$(PIP) install .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

test: test-native test-upstream

test-native: build
	$(PIP) install -r tests/requirements.txt
	$(BIN)/pytest $(ARGS)

test-upstream: build
	$(PIP) install -r tests/upstream/requirements.txt
	$(BIN)/pytest -q tests/upstream/test_runner.py
	$(BIN)/python tests/upstream/run.py

# What this installs is the same package, built otherwise: test_install.py, which
# builds it again, would test nothing new.
test-kqueue:
	TRIO_C_BACKEND=kqueue $(MAKE) --no-print-directory build VENV=build/kqueue
	build/kqueue/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/requirements.txt -r tests/upstream/requirements.txt
	build/kqueue/bin/pytest --ignore=tests/test_install.py $(ARGS)
	build/kqueue/bin/python tests/upstream/run.py

test-c:
	$(MAKE) --no-print-directory -C csrc/tests BUILD=$(CURDIR)/build/c-tests

# Needs wine and mingw-w64, as the next does.
test-c-windows:
	$(MAKE) --no-print-directory -C csrc/tests check-windows \
		BUILD=$(CURDIR)/build/c-tests WINEPREFIX=$(CURDIR)/build/wine

# Needs wine and mingw-w64; docs/building.md says more.
test-windows: $(BIN)/python
	$(PIP) install 'setuptools>=77'
	$(BIN)/python tools/windows/run.py $(ARGS)

# In an environment of its own: the compiler is a large package.
cross-compile:
	$(PYTHON) -m venv build/cross/venv
	build/cross/venv/bin/python -m pip --disable-pip-version-check -q install \
		-r tools/requirements-cross.txt
	build/cross/venv/bin/python tools/cross_compile.py $(ARGS)

# For the version of PYTHON. Needs valgrind.
instructions: build
	$(PIP) install -r tests/requirements.txt
	$(BIN)/python tests/_instructions.py --write

# In an environment of its own, since it needs the real Trio to compare with.
types:
	$(MAKE) --no-print-directory build VENV=build/types
	build/types/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/types/requirements.txt
	build/types/bin/python tests/types/check.py $(ARGS)

# In an environment of its own, with the real Trio.
differential:
	$(MAKE) --no-print-directory build VENV=build/differential
	build/differential/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/differential/requirements.txt
	build/differential/bin/python tests/differential/fuzz.py \
		$(if $(ARGS),$(ARGS),--hypothesis 300 --count 4000)

# In an environment of its own: a debug build, which counts live objects.
hostile:
	TRIO_C_DEBUG=1 $(MAKE) --no-print-directory build VENV=build/hostile
	build/hostile/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/hostile/requirements.txt
	build/hostile/bin/python tests/hostile/fuzz.py $(ARGS)

soak load: build
	$(PIP) install -r tests/requirements.txt
	$(BIN)/python tests/$@/run.py $(ARGS)

# The environment of `differential` will do.
stress:
	$(MAKE) --no-print-directory build VENV=build/differential
	build/differential/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/differential/requirements.txt
	build/differential/bin/python -W ignore tests/stress/run.py $(ARGS)

# In an environment of its own: a debug build, whose objects can be counted.
inject:
	TRIO_C_DEBUG=1 $(MAKE) --no-print-directory build VENV=build/inject
	build/inject/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/requirements.txt
	build/inject/bin/python tests/injection/run.py $(ARGS)

# In environments of their own: one with the real Trio, one without.
test-ecosystem:
	$(PYTHON) tests/ecosystem/run.py $(ARGS)

test-suites:
	$(PYTHON) tests/ecosystem/run.py suites $(ARGS)

bench:
	$(MAKE) --no-print-directory build VENV=build/bench
	build/bench/bin/python benchmarks/peers.py
	build/bench/bin/python benchmarks/run.py $(ARGS)

# Needs clang, clang-tidy and cppcheck.
analyze: $(BIN)/python
	$(BIN)/python tools/analyze.py $(ARGS)

# gcc's: another compiler has a library of another name.
RACES = LD_PRELOAD=$$(gcc -print-file-name=libtsan.so) \
	TSAN_OPTIONS="exitcode=66 history_size=4 die_after_fork=0"

races:
	TRIO_C_SANITIZE=thread TRIO_C_DEBUG=1 \
		$(MAKE) --no-print-directory build VENV=build/races
	$(RACES) build/races/bin/python tests/races/stress.py $(ARGS)

races-tests: races
	build/races/bin/python -m pip --disable-pip-version-check -q install \
		-r tests/requirements.txt
	$(RACES) build/races/bin/pytest tests/test_entry_queue.py tests/test_threads.py \
		tests/test_thread_cache.py tests/test_thread_turns.py tests/test_signals.py tests/test_ki.py

valgrind:
	$(MAKE) --no-print-directory -C csrc/tests valgrind BUILD=$(CURDIR)/build/c-tests

lint: $(BIN)/python
	$(PIP) install -r tools/requirements.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/check_includes.py
	$(BIN)/python tools/check_c.py
	$(BIN)/python tools/check_platforms.py
	$(BIN)/python tools/check_sizes.py

clean:
	rm -rf build dist *.egg-info csrc/tests/build tests/upstream/.cache
