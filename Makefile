PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
FLOORS ?= .venv-floors
DEMO ?= runs/demo

SEEDS ?= 0 1 2
RESULTS ?= runs/results
DATASET ?= photoworld
SYSTEMS ?= e2e pipeline
TABLE ?= runs/paper-table
ABLATION ?= runs/ablation
LADDER ?= bundled=bundled
MODULES ?= all
BRIDGES ?= none dvtm dvtm-word vtm soft
NOISE ?= runs/bridge-noise

.PHONY: demo results paper-table attribution ladder linearisations categories systems ablation bridge-noise test floors docs mutants foundations clean

demo: $(VENV)/installed  ## train both systems, generate, score, draw: under ten minutes on two cores
	$(BIN)/pscli train-e2e --dataset photoworld --preset demo --run $(DEMO)/e2e --overwrite
	$(BIN)/pscli train-pipeline --dataset photoworld --preset demo --run $(DEMO)/pipeline --overwrite
	$(BIN)/pscli generate --dataset photoworld --split test --count 60 --agent $(DEMO)/e2e --out $(DEMO)/preds/e2e --overwrite
	$(BIN)/pscli generate --dataset photoworld --split test --count 60 --agent $(DEMO)/pipeline --out $(DEMO)/preds/pipeline --overwrite
	$(BIN)/pscli score $(DEMO)/preds/e2e $(DEMO)/preds/pipeline
	$(BIN)/pscli report $(DEMO)/preds/e2e $(DEMO)/preds/pipeline --out $(DEMO)/conversations.png --overwrite

results: $(VENV)/installed  ## an epoch of preset `tiny`: both systems, three seeds; resumes where it stopped
	$(BIN)/python benchmarks/paper_table.py photoworld --out $(RESULTS) --preset tiny --seeds $(SEEDS) --count $(or $(COUNT),500)

paper-table: $(VENV)/installed  ## the paper's protocol on DATASET: train, generate, score, report; resumes where it stopped
	$(BIN)/python benchmarks/paper_table.py $(DATASET) --out $(TABLE)/$(DATASET) --seeds $(SEEDS) --systems $(SYSTEMS) \
	  $(if $(PRESET),--preset $(PRESET)) $(if $(COUNT),--count $(COUNT)) $(if $(EXTRACTOR),--extractor $(EXTRACTOR))

attribution: $(VENV)/installed  ## where its figures come from: no joint training, either system, --best-of 4; after `make results`
	$(BIN)/python benchmarks/attribution.py photoworld --out $(RESULTS) --preset $(or $(PRESET),tiny) --seeds $(SEEDS) --count $(or $(COUNT),500)

ladder: $(VENV)/installed  ## how errors propagate (docs/scores.md), LADDER="NAME=AGENT ..."; resumes where it stopped
	$(BIN)/python benchmarks/ladder.py $(LADDER) --count $(or $(COUNT),500) --out runs/ladder

linearisations: $(VENV)/installed  ## Table 3 of Sun et al. (2023): four ways to write a dialogue as one text; resumes where it stopped
	$(BIN)/python benchmarks/linearisations.py $(DATASET) --seeds $(SEEDS) $(if $(PRESET),--preset $(PRESET)) $(if $(COUNT),--count $(COUNT)) \
	  $(if $(EXTRACTOR),--extractor $(EXTRACTOR))

systems: $(VENV)/installed  ## every system, three seeds, one table, DOCS=1 into docs/; PLAN=1 says what is left; resumes where it stopped
	$(BIN)/python benchmarks/systems.py $(DATASET) --seeds $(SEEDS) --count $(or $(COUNT),500) $(if $(PRESET),--preset $(PRESET)) \
	  $(if $(ONLY),--systems $(ONLY)) $(if $(PLAN),--plan) $(if $(DOCS),--table docs/systems-table.md --plot docs/images/systems.png)

categories: $(VENV)/installed  ## their Figure 5: FID and IS of people, food and animals in PREDS
	$(BIN)/python benchmarks/categories.py $(PREDS) $(if $(EXTRACTOR),--extractor $(EXTRACTOR))

ablation: $(VENV)/installed  ## the bridges of docs/bridge.md, three seeds each; resumes where it stopped
	for seed in $(SEEDS); do for bridge in none dvtm dvtm-word vtm soft; do \
	  run=$(ABLATION)/$$bridge-$$seed; preds=$(ABLATION)/preds/$$bridge-$$seed; \
	  if [ -e $$run ]; then again=--resume; else again="--preset demo --set train.eval_dialogues=8 --seed $$seed --bridge $$bridge"; fi; \
	  $(BIN)/pscli train-e2e --dataset photoworld --run $$run $$again || exit 1; \
	  $(BIN)/pscli generate --dataset photoworld --split test --count 200 --agent $$run --out $$preds || exit 1; \
	  $(BIN)/pscli score $$preds || exit 1; \
	done; done
	$(BIN)/python benchmarks/ablation.py $(ABLATION) --seeds $(SEEDS) --plot docs/images/bridge-ablation.png

bridge-noise: $(VENV)/installed  ## wrong captions, bridge by bridge, under three hours; resumes where it stopped
	$(BIN)/python benchmarks/bridge_noise.py --bridges $(BRIDGES) $(if $(ALPHAS),--alphas $(ALPHAS)) --out $(NOISE) $(if $(PLOT),--plot $(PLOT))

test: $(VENV)/installed  ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

floors: $(VENV)/installed  ## the tests with the lowest versions that pyproject.toml allows
	$(BIN)/pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	$(BIN)/uv pip install --quiet --python $(FLOORS) --resolution lowest-direct -e '.[dev]'
	OMP_NUM_THREADS=1 $(FLOORS)/bin/python -m pytest -n 2

docs: $(VENV)/installed  ## the site, into site/: these pages and the docstrings, without a warning
	$(BIN)/pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

mutants: $(VENV)/installed  ## faults that the tests let through, into docs/mutants.md (hours for all)
	$(BIN)/pip install --quiet mutmut==3.8.1
	$(BIN)/python tests/mutants.py $(MODULES)

foundations: $(VENV)/installed  ## remake the shipped weights: hours; resumes where it stopped
	$(BIN)/pscli foundations --work runs/foundations --out src/pscli/photoworld/weights

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(FLOORS) build dist .pytest_cache .mypy_cache .ruff_cache
