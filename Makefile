# Every target sets up what it needs: a virtual environment in .venv, the compiled package, its dependencies.
# A second call is quick; an edit under csrc/ rebuilds.  Choose another interpreter with  make PYTHON=python3.12 ...

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
OUT ?= figure1
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := pyproject.toml setup.py $(wildcard csrc/*.[ch] csrc/*/*.[ch])

.PHONY: arm help figure1 quick test studies firmware verify counts lint format bench guard method clean
.DELETE_ON_ERROR:

help:
	@echo 'make figure1   rejection against efficiency at eight node budgets, into figure1/'
	@echo 'make quick     the same in little time and with little statistics, into OUT (figure1/)'
	@echo 'make test      every test and the notebooks'
	@echo 'make counts    train for every node count and as many cost budgets with 20 seeds: minutes'
	@echo 'make studies   which inputs, trained networks, ways to choose: the tables of docs/studies.md (minutes)'
	@echo 'make method    pruning methods at equal node counts: docs/method.md, docs/defaults.md (hours; goes on where it stopped)'
	@echo 'make firmware  60 compiled hls4ml projects against the integer forward pass, and what few bits cost (ten minutes)'
	@echo 'make verify    every engine against the integer forward pass, on 8,000 jets (minutes)'
	@echo 'make lint      ruff, clang-format, mypy, codespell, nbstripout'
	@echo 'make format    what of lint can be done by the tools themselves'
	@echo 'make arm       the C core cross-compiled for ARM and run by an emulator'
	@echo 'make bench     speed and size beside PyTorch, JAX, Keras and others, into bench/ (20 min)'
	@echo 'make guard     instructions the C core executes, against those stored (needs valgrind)'
	@echo 'make clean     remove what was built, .venv included'

figure1: $(VENV)/.figure1
	$(BIN)/shadowprune figure1 --out $(OUT)

quick: $(VENV)/.figure1
	$(BIN)/shadowprune figure1 --quick --out $(OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout=300 tests notebooks

# Long ones, for the pages under docs/.
studies: $(VENV)/.bench
	for study in inputs warm_start variants; do $(BIN)/python -m benchmarks.$$study || exit 1; done

# SAMPLE=FILE adds generated jets
method: $(VENV)/.bench
	$(BIN)/python -m benchmarks.method $(if $(SAMPLE),--sample $(SAMPLE))

firmware: $(VENV)/.figure1
	$(BIN)/python -m benchmarks.firmware --out docs

verify: $(VENV)/.test
	$(BIN)/python -m benchmarks.engines verify --out docs

counts: $(VENV)/.test
	$(BIN)/python tests/every_count.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror csrc/*.[ch] csrc/*/*.[ch] tests/native/*.c
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: $(VENV)/.lint
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.[ch] csrc/*/*.[ch] tests/native/*.c
	$(BIN)/nbstripout notebooks/*.ipynb

# The core under NEON: cross-compiled, run by an emulator, its losses those of this machine's own build to four digits.
# Debian: apt-get install gcc-aarch64-linux-gnu qemu-user-static
NATIVE := tests/native/train.c $(wildcard csrc/*.c) csrc/kernels/baseline.c csrc/kernels/dispatch.c
NATIVE_FLAGS := -std=gnu11 -O2 -D_GNU_SOURCE -Wall -Wextra -Wno-psabi -Icsrc -Icsrc/kernels
arm:
	@mkdir -p build/native
	aarch64-linux-gnu-gcc $(NATIVE_FLAGS) $(NATIVE) -static -lm -pthread -o build/native/arm
	$(CC) $(NATIVE_FLAGS) $(NATIVE) -lm -pthread -o build/native/host
	build/native/host 1 >build/native/host.txt
	for n in 1 3; do qemu-aarch64-static build/native/arm $$n | diff - build/native/host.txt || exit 1; done
	@echo 'aarch64: the same losses, with one thread and with three'

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out bench

guard: $(VENV)/.built
	$(BIN)/python -m benchmarks.instructions

clean:
	rm -rf $(VENV) build dist bench shadowprune.egg-info shadowprune/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find shadowprune tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# --- set-up: one stamp per step, so that a failed step is repeated and a finished one is not ---

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo 'shadowprune needs Python 3.11 or newer: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 -m venv failed; on Debian: apt-get install python3-venv'; exit 1; }
	@$(PIP) 'setuptools>=77' 'numpy>=2'
	@touch $@

# Editable, and without build isolation: the tree is what runs, and the compiler's work is done once.
$(VENV)/.built: $(VENV)/.python $(SOURCES)
	@echo 'Building the C core'
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.figure1: EXTRAS = plot,hls4ml
$(VENV)/.test: EXTRAS = all,test
$(VENV)/.lint: EXTRAS = all,test,lint
$(VENV)/.bench: EXTRAS = test
$(VENV)/.figure1 $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: pyproject.toml | $(VENV)/.built
	@echo 'Installing the extras $(EXTRAS)'
	@$(PIP) 'shadowprune[$(EXTRAS)]' $(MORE)
	@touch $@
$(VENV)/.test: MORE = -r benchmarks/method/requirements.txt
$(VENV)/.bench: MORE = -r benchmarks/requirements.txt
