# make demo: everything, on generated data.   make test: all checks.   make help: the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := envs/workflow.lock envs/dev.lock
CODE := workflow/scripts tests docs/conf.py docs/_extensions
SMK := Snakefile rules
FAULTS := $(addprefix tests/test_,reliability.py fuzz.py security.py adoption.py cluster.py models.py data.py storage.py memory.py)

.DEFAULT_GOAL := help
.PHONY: help env demo test test-cluster lint chaos bench quirks tutorial families reproduction estimate publish adopt adopt-dates docs lock

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## Make the pinned environment in .venv

$(STAMP): envs/installer.lock $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed: make PYTHON=python3.11 env"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make environments: install its venv package (Debian: python3-venv)"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/installer.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $(LOCKS)
	@touch $@

demo: env  ## Run the whole workflow on the generated demo
	$(BIN)/snakemake --cores all --configfile config/config.yaml

CONFIG := config/config.yaml
# The value of a variable as one word of a shell, whatever it holds.
quoted = '$(subst ','\'',$(value $(1)))'

estimate: env  ## Say what a run will take: make estimate CONFIG=config/paper.yaml
	$(BIN)/python workflow/scripts/estimate.py --configfile $(call quoted,CONFIG) --snakefile Snakefile

publish: env  ## Pack the results of a run for others: make publish CONFIG=config/paper.yaml
	$(BIN)/snakemake --cores all --configfile $(call quoted,CONFIG)
	$(BIN)/python workflow/scripts/publish.py --configfile $(call quoted,CONFIG) --schema config/schema.yaml

adopt: env  ## Take over published results: make adopt FILE=results/paper.tar
	@test -n $(call quoted,FILE) || { echo "error: say which archive: make adopt FILE=paper.tar"; exit 1; }
	$(BIN)/python workflow/scripts/adopt.py --archive $(call quoted,FILE)

adopt-dates: env  ## Take the files of a copied run for what they are, whatever the copy's dates: make adopt-dates RESULTS=results/demo
	@test -n $(call quoted,RESULTS) || { echo "error: say which run: make adopt-dates RESULTS=results/demo"; exit 1; }
	$(BIN)/python workflow/scripts/adopt_dates.py --results $(call quoted,RESULTS)

test: env  ## Run all tests
	$(BIN)/python -m pytest -rs --numprocesses logical --dist loadgroup --no-loadscope-reorder

test-cluster: env  ## Test runs on a throw-away Slurm cluster (as root, with Slurm installed)
	$(BIN)/python -m pytest -m cluster -rs tests/test_cluster.py

chaos: env  ## Kill a run 200 times, try 10,000 broken inputs of each kind and every other fault; writes docs/reliability.md
	$(BIN)/python -m pytest -m "cluster or not cluster" -rs $(FAULTS) --kills 200 --inputs 10000 --faults docs/reliability.md

lint: env  ## Check style, types and rules
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/snakefmt --check $(SMK)
	$(BIN)/mypy
	$(BIN)/snakemake --lint

bench: demo  ## Measure speed and memory; writes docs/benchmarks.md
	PYTHONPATH=workflow/scripts $(BIN)/python tests/bench.py --report docs/benchmarks.md

quirks: demo  ## Measure what each quirk of the published code changes; writes docs/quirks.md
	PYTHONPATH=workflow/scripts $(BIN)/python tests/quirks.py --report docs/quirks.md

tutorial: demo  ## Execute the tutorial on the demo's results; writes docs/tutorial.ipynb
	$(BIN)/python tests/tutorial.py

reproduction: env  ## Show what was reproduced in the README
	$(BIN)/python workflow/scripts/readme.py --expected config/expected.yaml --results results --readme README.md

docs: demo  ## Build the documentation; docs/_build/html/index.html is its first page
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

families: env  ## Try every family of models; writes docs/families.md
	PYTHONPATH=workflow/scripts $(BIN)/python tests/families.py --report docs/families.md

lock: COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --custom-compile-command "make lock"
lock: env  ## Resolve the newest versions of all packages
	$(COMPILE) pyproject.toml --extra workflow -o envs/workflow.lock
	$(COMPILE) --group dev -c envs/workflow.lock -o envs/dev.lock
	echo uv | $(COMPILE) -c envs/dev.lock - -o envs/installer.lock
	sh envs/conda.sh < envs/workflow.lock > envs/classlens.yaml
