# make demo: the whole workflow on generated data.   make photos: a pretrained model.   make check: quick checks.   make test: all tests.   make help: all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := envs/workflow.lock envs/dev.lock
PEERS := .venv-peers
CODE := workflow/scripts tests tools docs/conf.py docs/_extensions
SMK := Snakefile rules
PAGE := workflow/scripts/classlens/explorer/page
PAGE_TOOLS := envs/page
PAGE_STAMP := $(PAGE_TOOLS)/node_modules/.installed
QUICK := "not cluster and not install and not container and not workflow and not slow"
CLUSTERS := $(addprefix tests/test_,cluster.py small_cluster.py grid_engine.py)
FAULTS := $(addprefix tests/test_,reliability.py fuzz.py security.py adoption.py cluster.py small_cluster.py models.py data.py storage.py memory.py)

.DEFAULT_GOAL := help
.PHONY: help env demo photos check test test-cluster test-install test-container test-snakemake test-newest test-oldest lint chaos bench quirks tutorial filmstrip families reproduction estimate publish adopt adopt-dates docs lock release node

help:  ## Show this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
env: $(STAMP) $(BIN)/classlens  ## Make the pinned environment in .venv

$(BIN)/classlens: envs/classlens | $(STAMP)
	@cp $< $@

$(STAMP): envs/installer.lock $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed: make PYTHON=python3.11 env"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make environments: install its venv package (Debian: python3-venv)"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/installer.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $(LOCKS)
	@touch $@

demo: env  ## Run the whole workflow on the generated demo
	$(BIN)/snakemake --cores all --configfile config/config.yaml

photos: env  ## Run a pretrained model on seven photographs (needs a network)
	$(BIN)/snakemake --cores all --configfile config/photos.yaml

CONFIG := config/config.yaml
# The value of a variable, quoted as one word for the shell.
quoted = '$(subst ','\'',$(value $(1)))'

estimate: env  ## Estimate a run's jobs, disk and time: make estimate CONFIG=config/paper.yaml
	$(BIN)/python workflow/scripts/estimate.py --configfile $(call quoted,CONFIG) --snakefile Snakefile

publish: env  ## Pack a run's results for others: make publish CONFIG=config/paper.yaml
	$(BIN)/snakemake --cores all --configfile $(call quoted,CONFIG)
	$(BIN)/python workflow/scripts/publish.py --configfile $(call quoted,CONFIG)

adopt: env  ## Unpack published results: make adopt FILE=results/paper.tar
	@test -n $(call quoted,FILE) || { echo "error: FILE is not set: name the archive, as in make adopt FILE=paper.tar"; exit 1; }
	$(BIN)/python workflow/scripts/adopt.py --archive $(call quoted,FILE)

adopt-dates: env  ## Restore the dates of a copied run's files: make adopt-dates RESULTS=results/demo
	@test -n $(call quoted,RESULTS) || { echo "error: RESULTS is not set: name the run's folder, as in make adopt-dates RESULTS=results/demo"; exit 1; }
	$(BIN)/python workflow/scripts/adopt_dates.py --results $(call quoted,RESULTS)

##@ Check
check: lint  ## Check style, types and all tests without a workflow run (two minutes)
	$(BIN)/python -m pytest -m $(QUICK) --numprocesses logical --dist loadgroup --no-loadscope-reorder

lint: env $(PAGE_STAMP)  ## Check style, types and rules
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/snakefmt --check $(SMK)
	$(BIN)/mypy
	$(BIN)/snakemake --lint
	$(PAGE_TOOLS)/node_modules/.bin/eslint --config $(PAGE_TOOLS)/eslint.config.js $(PAGE)
	$(PAGE_TOOLS)/node_modules/.bin/tsc --project $(PAGE_TOOLS)

$(PAGE_STAMP): $(PAGE_TOOLS)/package-lock.json | node
	npm ci --silent --prefix $(PAGE_TOOLS)
	@touch $@

node:
	@command -v node > /dev/null && command -v npm > /dev/null || { echo "error: checks of the explorer's scripts need Node.js 18 or newer and npm: install them (Debian: nodejs and npm)"; exit 1; }

test: env  ## Run all tests
	$(BIN)/python -m pytest -rs --numprocesses logical --dist loadgroup --no-loadscope-reorder

test-cluster: env  ## Test runs on temporary clusters of Slurm and Grid Engine (needs root and their programs)
	$(BIN)/python -m pytest -m cluster -rs --numprocesses 2 --dist loadgroup --no-loadscope-reorder $(CLUSTERS)

test-install: env  ## Test the built package in an empty environment (needs a package index)
	$(BIN)/python -m pytest -m install -rs tests/test_install.py

test-container: env  ## Test the images' environment in a new Debian system (needs root and debootstrap)
	$(BIN)/python -m pytest -m container -rs tests/test_container.py

# The oldest version that pyproject.toml allows, and the newest one.
SNAKEMAKES := snakemake==9.20.0 snakemake<10
test-snakemake: env  ## Test uses of Snakemake's undocumented interfaces, with its oldest and newest version
	for version in $(foreach item,$(SNAKEMAKES),'$(item)'); do \
	    $(BIN)/uv run --quiet --isolated --no-project --python $(BIN)/python --with "$$version" --with 'pytest<9.2' \
	        python -m pytest --noconftest tests/test_snakemake_adapter.py || exit 1; \
	done

test-newest: RESOLUTION := highest
test-newest: env  ## Run quick tests with the newest packages that pyproject.toml allows
	$(test-resolution)

test-oldest: RESOLUTION := lowest-direct
test-oldest: env  ## Run quick tests with the oldest packages that pyproject.toml allows
	$(test-resolution)

# Only packages that pyproject.toml names are that old, and no development tools: it gives no bounds for others.
define test-resolution
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/uv pip compile --quiet --resolution $(RESOLUTION) --python $(BIN)/python --annotation-style line --no-header --all-extras \
	    pyproject.toml -o "$$folder/all.txt" > /dev/null && \
	grep 'via .*classlens' "$$folder/all.txt" > "$$folder/named.txt" && cat "$$folder/named.txt" && \
	$(BIN)/uv venv --quiet --python $(BIN)/python "$$folder/venv" && \
	$(BIN)/uv pip install --quiet --python "$$folder/venv/bin/python" --requirements pyproject.toml --all-extras --group dev \
	    --constraints "$$folder/named.txt" && \
	"$$folder/venv/bin/python" -m pytest -m $(QUICK) --numprocesses logical --dist loadgroup --no-loadscope-reorder
endef

chaos: env  ## Test faults: 200 killed runs, 10,000 broken inputs per kind, and others; writes docs/reliability.md
	$(BIN)/python -m pytest -m "not install and not container" -rs $(FAULTS) --kills 200 --inputs 10000 --faults docs/reliability.md

##@ Measure and document
docs: demo  ## Build the documentation in docs/_build/html
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

bench: demo $(PEERS)/.installed  ## Measure speed and memory, also of other libraries; writes docs/benchmarks.md
	PYTHONPATH=workflow/scripts $(BIN)/python tools/bench.py --peers $(PEERS)/bin/python --report docs/benchmarks.md

# The pinned environment, and the libraries with which the benchmark compares.
$(PEERS)/.installed: envs/peers.lock $(STAMP)
	@test -x $(PEERS)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(PEERS)
	$(BIN)/uv pip sync --quiet --python $(PEERS)/bin/python --require-hashes $(LOCKS) envs/peers.lock
	@touch $@

quirks: demo  ## Measure the effect of each quirk of the published code; writes docs/quirks.md
	PYTHONPATH=workflow/scripts $(BIN)/python tools/quirks.py --report docs/quirks.md

families: env  ## Test every family of models; writes docs/families.md
	PYTHONPATH=workflow/scripts $(BIN)/python tools/families.py --report docs/families.md

tutorial: demo  ## Execute the tutorial on the demo's results; writes docs/tutorial.ipynb
	$(BIN)/python tools/tutorial.py

filmstrip: demo  ## Draw the animation of the README from the demo's results
	PYTHONPATH=workflow/scripts $(BIN)/python tools/filmstrip.py --results results/demo --film docs/images/filmstrip.webp

reproduction: env  ## Write the reproduced numbers into docs/reproduction.md
	$(BIN)/python workflow/scripts/reproduction_page.py --expected config/expected.yaml --results results --page docs/reproduction.md

##@ Maintain
release: env  ## Check that the checkout can be released, and build sdist and wheel (publishes nothing)
	$(BIN)/python tools/release.py

lock: COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --custom-compile-command "make lock"
lock: env node  ## Resolve the newest versions of all packages
	$(COMPILE) pyproject.toml --extra slurm --extra sge --extra s3 --extra photos -o envs/workflow.lock
	$(COMPILE) --group dev -c envs/workflow.lock -o envs/dev.lock
	echo uv | $(COMPILE) -c envs/dev.lock - -o envs/installer.lock
	printf '%s\n' nnsight transformer-lens vit-prisma | $(COMPILE) -c envs/workflow.lock -c envs/dev.lock - -o envs/peers.lock
	sh envs/conda.sh < envs/workflow.lock > envs/classlens.yaml
	rm -f $(PAGE_TOOLS)/package-lock.json
	npm install --silent --package-lock-only --prefix $(PAGE_TOOLS)
