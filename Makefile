# make demo       erase one face, look at runs/demo/before_after.png  (PHOTO=me.jpg FACE=0, or SEED=7; OUT=folder;
#                 GENERATOR=heads-eg3d for heads that turn)
# make test       lint, unit tests, examples in the docstrings, notebooks
# make lab        open the notebooks
# make doctor     say what this machine can do
# make compare    GUIDE beside its baseline, 8 people
# make notebooks  run the notebooks and store what they print (GENERATOR=heads-eg3d: run 04 to 06 on it, store nothing)
# make course     copies of the notebooks for a class: student, solution, nbgrader
# make site       pages of the course, from what is stored: dist/site/index.html
# make mutants    break the method, attacks, what a GPU needs and our answers on purpose; see the tests notice
# make lint       ruff only
# make format     let ruff rewrite the code
# make clean      remove .venv, runs/ and the caches of the tools

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PHOTO  ?=
FACE   ?=
SEED   ?=
GENERATOR ?=
OUT    ?= runs/demo
# A name may hold spaces, quotes and dollars: it goes to the shell as a variable, as it was typed.
override PHOTO := $(value PHOTO)
override FACE  := $(value FACE)
override SEED  := $(value SEED)
override OUT   := $(value OUT)
override GENERATOR := $(value GENERATOR)
export PHOTO FACE SEED OUT GENERATOR

# Training allocates and frees the same large blocks at every step. By default glibc returns each to the
# system and maps it anew (millions of page faults); kept instead, a step runs more than twice as fast for
# 20 to 30 % more memory. Other C libraries ignore both variables.
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := -1

# The stamp is named after the contents it depends on (the settings of ruff and pytest are not among them), so
# that a new checkout date triggers no install: after one set-up, nothing below touches the network.
LOCK  := $(wildcard requirements/lock-*.txt)
KEY   := $(shell sed '/^\[tool\.ruff\]/,$$d' pyproject.toml | cat - $(LOCK) | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(KEY)
# The portrait in data/ is used unless a photo or a seed is named, and the usual generator unless another is.
WHO   := $(if $(PHOTO),--photo="$$PHOTO",$(if $(SEED),--person="$$SEED")) $(if $(FACE),--face="$$FACE") \
         $(if $(GENERATOR),--generator="$$GENERATOR")

# Tests on several cores at once, see conftest.py; `make test PARALLEL="-n 0"` takes one after another.
PARALLEL ?= -n auto

.DEFAULT_GOAL := help
.PHONY: help demo test lab doctor compare notebooks course site mutants lint format clean setup

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

setup: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	  { echo 'error: $(PYTHON) is not Python 3.10 or newer; name one with make PYTHON=python3.12' >&2; exit 2; }
	@echo 'Setting up $(VENV): about 6 GB on Linux and several minutes, once.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@lock=requirements/lock-py$$($(BIN)/python -c 'import sys; print("%d%d" % sys.version_info[:2])').txt; \
	  if test -f $$lock; then set -- -c $$lock; else set --; fi; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check "$$@" -e '.[all]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m guide_lib unlearn $(WHO) --out="$$OUT"

test: lint
	$(BIN)/python -m guide_lib assets fetch
	$(BIN)/python -m pytest $(PARALLEL) --dist loadfile --no-loadscope-reorder -m 'not alone'
	$(BIN)/python -m pytest $(shell grep -rlF --include='test_*.py' pytest.mark.alone tests)
	$(BIN)/python -m pytest $(PARALLEL) --dist worksteal --doctest-modules guide_lib
	$(BIN)/python -m pytest $(PARALLEL) --dist loadfile --nbval-lax --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg notebooks

lab: $(STAMP)
	$(BIN)/python -m jupyter lab notebooks

doctor: $(STAMP)
	$(BIN)/python -m guide_lib doctor

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(STAMP)
	$(BIN)/python tests/mutants.py

compare: $(STAMP)
	$(BIN)/python -m guide_lib compare

notebooks: $(STAMP)
	$(BIN)/python notebooks/store_outputs.py $(if $(GENERATOR),--generator="$$GENERATOR")

course: $(STAMP)
	$(BIN)/python notebooks/build.py

site: $(STAMP)
	$(BIN)/python website/build.py

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
