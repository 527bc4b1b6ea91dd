# Two commands do everything on a fresh machine: `make run` and `make test`. Nothing outside this folder is changed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
CORES ?= all
CONFIG ?= config.yaml
BIN := .venv/bin
ALSO :=
# Why each job runs is what `snakemake -n` says.
QUIET := --quiet host reason
# A run of one's own, of what the command line gives; a MODEL of the environment is somebody else's.
OWN := $(strip $(foreach name,MODEL TEXT COUNT LENGTH,$(if $(filter command,$(origin $(name))),$(name))))
GIVEN := $(strip $(OWN) $(if $(filter command,$(origin CONFIG)),CONFIG))
ifneq ($(OWN),)
ifneq ($(filter CONFIG,$(GIVEN)),)
$(error make takes CONFIG=$(CONFIG) or $(OWN), not both: write them into $(CONFIG))
endif
endif
# Every other target has a configuration of its own, or none.
CONFIGURED := run paper estimate surgery tolerance tasks length
ifneq ($(GIVEN),)
ifneq ($(filter-out $(CONFIGURED),$(MAKECMDGOALS)),)
$(error make $(firstword $(filter-out $(CONFIGURED),$(MAKECMDGOALS))) takes no $(GIVEN): run, paper, estimate, surgery, tolerance, tasks and length do)
endif
endif
# The folder of a run of one's own, and that run, or the files of it that are named.
own_folder = folder=$$($(BIN)/python scripts/write_own.py $(OWN))
snakemake_own = $(BIN)/snakemake $(QUIET) --cores $(CORES) --directory "$$folder" --configfile "$$folder/config.yaml"
define run_own
$(own_folder); \
$(snakemake_own) $(ALSO); \
$(BIN)/python scripts/print_headline.py "$$folder"
endef

# Snakemake, matplotlib and the rest keep their caches here, not in the home folder.
export XDG_CACHE_HOME := $(CURDIR)/.cache
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export PYTHONNOUSERSITE := 1


.PHONY: help install run paper estimate notebook surgery tolerance tasks length long training test test-cluster reliability lint facts docs bench models clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

install: .venv/.locked ## install what `make run` needs into .venv, and nothing else

run: .venv/.locked $(CONFIG) ## install what is needed, run, print the summary (CONFIG=my.yaml, or MODEL= TEXT= COUNT= LENGTH= in runs/)
	$(if $(OWN),@$(run_own),$(BIN)/snakemake $(QUIET) --cores $(CORES) --configfile $(CONFIG) $(ALSO))
	$(if $(OWN),,@$(BIN)/python scripts/print_headline.py)

paper: .venv/.locked $(CONFIG) ## a run's paper alone, and what it needs, of the words of run: results/paper.pdf
	$(if $(OWN),@$(own_folder); $(snakemake_own) -- results/paper.pdf; echo "Paper     $$folder/results/paper.pdf",$(BIN)/snakemake $(QUIET) --cores $(CORES) --configfile $(CONFIG) -- results/paper.pdf)

estimate: .venv/.locked $(CONFIG) ## jobs, rows, bytes and hours of a run before it starts, of the words of run
	@$(if $(OWN),$(own_folder); $(BIN)/python scripts/estimate.py "$$folder/config.yaml",$(BIN)/python scripts/estimate.py $(CONFIG))

notebook: .venv/.noted ## ask a finished run five questions, in a notebook that the browser opens (needs results/triaxis.duckdb)
	$(BIN)/python -m marimo edit notebooks/quickstart.py

surgery: ## the same run and the causal test: the model on additive logits (minutes)
tolerance: ## the same run and its order perturbed: words, positions and distances (minutes)
tasks: ## the same run and tasks asked under these perturbations (minutes)
length: ## the same run and lengths past the training length, plain attention beside LM-Infinite (minutes)
training: ## a small model trained here, twice: what its checkpoints have learned, and lengths past its own (minutes)
	@# Its models are so small that jobs side by side are faster than one on several threads.
	@$(MAKE) --no-print-directory run CONFIG=config/training.yaml \
	  ALSO="--set-threads extract_features=1 measure_checkpoint=1 measure_flexibility=1 run_length=1"
surgery tolerance tasks length:
	@$(MAKE) --no-print-directory run ALSO="--config also=$@"

long: .venv/.locked ## the default model over its whole context, 8,192 tokens, in runs/long (minutes)
	@mkdir -p runs/long
	$(BIN)/snakemake $(QUIET) --cores $(CORES) --directory runs/long --configfile config/long.yaml
	@$(BIN)/python scripts/print_headline.py runs/long

# In the order of the files: runs of minutes first, and unit tests of seconds to fill what one worker would wait for the other.
test: lint .venv/.tested ## lint, unit tests, and real pipeline runs end to end
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-cluster: .venv/.tested .venv/.clustered ## the pipeline through a real SLURM, which it starts and stops; skipped where SLURM is not installed
	$(BIN)/python -m pytest -rs -m cluster -n 2 --dist loadfile tests/cluster

reliability: .venv/.clustered ## the tests that kill, fill and damage runs, and those of models and texts as published; what they see goes into docs/reliability.md
	WRITE_RELIABILITY=1 $(BIN)/python -m pytest -rs -m "cluster or not cluster" tests/pipeline/test_kills.py tests/pipeline/test_faults.py tests/cluster
	WRITE_RELIABILITY=1 $(BIN)/python -m pytest tests/unit/attention tests/unit/model tests/unit/surgery tests/unit/text

lint: .venv/.locked ## formatting, style, types, and Snakemake's own lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

# What is written from code and tables. A test fails when a page and its source disagree.
facts: .venv/.locked ## run every experiment of the default configuration, and write its numbers into README.md and docs/
	$(BIN)/snakemake --cores $(CORES) --config 'also=[length, surgery, tolerance, tasks]'
	$(BIN)/python scripts/write_facts.py results
	$(BIN)/python scripts/write_configuration.py
	$(BIN)/python scripts/write_files_page.py

docs: .venv/.documented ## build the documentation site into build/site, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site is in build/site"

bench: run .venv/.benchmarked ## the benchmarks, as ratios, and the rates of this machine, written to benchmarks/
	$(BIN)/python -m benchmarks

models: .venv/.locked ## write docs/models.md, from what tiny models of each family show
	PYTHONPATH=scripts:tests $(BIN)/python -m unit.families

clean: ## remove what a run made; sources and the virtual environment stay
	rm -rf results logs .snakemake

.venv/.locked: requirements.lock
	@for python in $${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    found=$$python; break; \
	  fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "Triaxis needs Python 3.11, 3.12 or 3.13 with venv, and none is on PATH: install one (python.org, conda, or your system's python3 and python3-venv) and run make again, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into .venv with $$found"; \
	"$$found" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir -r requirements.lock
	@touch $@

.venv/.tested: .venv/.locked tests/requirements.lock notebooks/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r tests/requirements.lock -r notebooks/requirements.lock
	@touch $@

.venv/.clustered: .venv/.locked profiles/slurm/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r profiles/slurm/requirements.lock
	@touch $@

.venv/.noted: .venv/.locked notebooks/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r notebooks/requirements.lock
	@touch $@

.venv/.documented: .venv/.locked docs/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r docs/requirements.lock
	@touch $@

.venv/.benchmarked: .venv/.locked benchmarks/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir -r benchmarks/requirements.lock
	@touch $@
