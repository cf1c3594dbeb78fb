# make run: give the team a job. make test: everything that proves it. make help: the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := core registry runtime agents operator cli
STAMP := $(VENV)/.installed-$(shell cat requirements/uv.txt requirements/all.txt $(MEMBERS:%=%/pyproject.toml) | sha256sum | cut -c1-16)

ENGINES ?= postgres rocketmq s3 nacos
KUBERNETES := kubernetes real-kubernetes
ENGINE = PYTHONPATH=deploy $(BIN)/python -m engines.run

.PHONY: help setup lock run test test-processes test-cluster test-slow test-nightly lint bench bench-cluster bench-quick clean engines engines-down engines-env engines-status

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## build .venv with everything pinned by hash

$(STAMP): requirements/uv.txt requirements/all.txt $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "parley needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/all.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(MEMBERS:%=-e ./%)
	@rm -f $(VENV)/.installed-* && touch $@

# What an image of deploy/Containerfile needs, in the versions of all.txt: $(1) the image, $(2) its members.
lock-image = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 -c requirements/all.txt $(MEMBERS:%=--no-emit-package parley-%) $(2:%=%/pyproject.toml) -o requirements/$(1).txt

lock: ## pin every dependency again (host-free, hashed)
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 --group dev $(MEMBERS:%=--no-emit-package parley-%) $(MEMBERS:%=%/pyproject.toml) -o requirements/all.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 -c requirements/all.txt requirements/build.in -o requirements/build.txt
	$(call lock-image,registry,core registry)
	$(call lock-image,operator,core registry operator)
	$(call lock-image,host,core registry runtime agents cli)

lint: setup ## ruff, mypy, import rules, no registry hosts in the tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@! git grep -nIE '(pypi[.]org|pythonhoste[d]|npmjs[.]org|crates[.]io|proxy[.]golang|repo1?[.]maven|deb[.]debian)' || { echo "a committed file names a package registry's host"; exit 1; }

run: export PARLEY_TASK = $(value TASK)
run: export PARLEY_REPO = $(value REPO)
run: setup ## give the team a job: make run REPO=path TASK="..." (default: the sample repository)
	@if test -z "$$PARLEY_TASK"; then PARLEY_TASK="Modernise the code, fix lint and sort imports"; fi; \
	if test -z "$$PARLEY_REPO"; then PARLEY_REPO=$$(examples/sample-repo.sh .parley/sample-repo) || exit; fi; \
	export PARLEY_TASK PARLEY_REPO; exec $(BIN)/parley run $(ARGS)

test: setup ## the quick tests: all but the stages below; on a machine with PostgreSQL (it is started by the tests)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not processes and not slow and not network and not cluster" $(ARGS)

test-processes: setup ## the tests that start and kill Parley's processes, or wait for them; a browser's too
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "processes and not slow and not network and not cluster" $(ARGS)

test-cluster: setup ## the tests on RocketMQ, S3, Nacos (Java 17 and Maven) and Kubernetes (Go, or your KUBECONFIG); the tests start them
	@$(ENGINE) fetch
	@$(ENGINE) fetch $(KUBERNETES) || echo "what needs it is skipped"
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "cluster and not slow and not network" $(ARGS)

test-nightly: setup ## a hundred random faults on a cluster, on each profile; PARLEY_FAULT_SEED=n does the same ones again (half an hour)
	@$(ENGINE) fetch
	PARLEY_FAULT_NIGHTLY=1 $(BIN)/pytest tests/fault/test_campaign.py -k hundred $(ARGS)

test-slow: setup ## the slow stage: the manual's examples, released packages, long campaigns; then real pods and small runs of the benches
	@$(ENGINE) fetch
	@$(ENGINE) fetch $(KUBERNETES) || echo "what needs it is skipped"
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow or network" --ignore tests/kubernetes --ignore tests/bench $(ARGS)
	@# What takes both processors by itself, or measures them.
	$(BIN)/pytest -m slow tests/kubernetes tests/bench $(ARGS)

engines: setup ## start PostgreSQL, RocketMQ, S3 and Nacos on loopback (ENGINES="postgres" for some, =kubernetes for that); see deploy/README.md
	@$(ENGINE) up $(ENGINES)

engines-down: setup ## stop them; their data stays
	@$(ENGINE) down $(ENGINES)

engines-env: setup ## what Parley needs to use them, as exports for the shell
	@$(ENGINE) env $(ENGINES)

engines-status: setup ## which of them run
	@$(ENGINE) status $(ENGINES)

plain-yaml: setup ## write deploy/kubernetes anew from charts/parley (needs Go the first time)
	PYTHONPATH=deploy $(BIN)/python tests/kubernetes/plain.py

clean: ## remove what make built
	rm -rf $(VENV) .parley parley-out

bench: setup ## measure everything against the a2a-sdk's own server, rewrite docs/benchmarks.md (about ten minutes)
	$(BIN)/python tests/bench/run.py

bench-cluster: setup ## the same for the cluster profile: PostgreSQL, fronts and workers apart; rewrite docs/benchmarks-cluster.md
	$(BIN)/python tests/bench/run.py --cluster

bench-quick: setup ## see that every bench still runs
	$(BIN)/python tests/bench/run.py --quick
	$(BIN)/python tests/bench/run.py --cluster --quick
