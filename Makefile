# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach minor,11 12 13 14,$(shell command -v python3.$(minor))) python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
ROUNDS ?= 2
RECIPE ?= dpo
SEED ?= 0
TASTE ?= first
LEAD ?= obeys
SERVE ?= 1
CHAT ?= 0
SCRATCH ?= 0
WORKERS ?= 3

# uv installs many times faster than pip; it does not read pip's folder of wheels by itself
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_HTTP_TIMEOUT ?= 180
# what is imported is compiled once, by the first process that does; to compile everything on installation takes a minute
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Palate needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/site: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[embedded,train,demo]'
	@touch $@

$(VENV)/dev: $(VENV)/site
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --group dev --editable ./client
	@touch $@

install: $(VENV)/site ## what the site and its workers need, into .venv
install-dev: $(VENV)/dev ## the same, with what tests and lint need

demo: $(VENV)/site ## two rounds of the whole loop, then the site (ROUNDS=2 RECIPE=dpo SEED=0 TASTE=first LEAD=obeys CHAT=0 SCRATCH=0 SERVE=1 PORT=8000)
	@$(BIN)/python manage.py demo --rounds $(ROUNDS) --recipe $(RECIPE) --seed $(SEED) --taste $(TASTE) --lead $(LEAD) \
		--port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve) $(if $(filter 1,$(CHAT)),--chat) \
		$(if $(filter 1,$(SCRATCH)),--scratch)

demo-reset: ## throw the demo's data away
	@if [ -d var ]; then $(BIN)/python -m config.embedded stop; rm -rf var; fi; echo "var/ is gone."

serve: $(VENV)/site ## the site on this machine, without the demo
	@$(BIN)/python manage.py serve --port $(PORT)

browser:
	@tests/browser/install

# a class or module of tests is worked off by one worker, those that take longest first
test: $(VENV)/dev browser ## every test, on real servers, workers and a real browser (ARGS="tests/annotation -x" WORKERS=3)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

test-fast: $(VENV)/dev ## the tests that need no server, no other process and no browser
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not (database or live or browser or slow)" $(ARGS)

# what the wheels' PostgreSQL, which has no just-in-time compiler, and Valkey could hide
SYSTEM_TESTS := $(addprefix tests/,test_metrics.py $(addprefix annotation/,exports/test_formats.py exports/test_votes.py \
	test_agreement.py test_ai_feedback.py test_annotator.py test_concurrency.py test_item_agreement.py test_leases.py test_locks.py \
	test_progress.py test_project_counts.py test_quality.py test_queries.py test_queue.py test_run_import.py test_time_steps.py))
test-debian: $(VENV)/dev ## the tests that query most, on this machine's own PostgreSQL and Redis instead of the wheels' (Debian's packages)
	PALATE_TEST_SERVERS=system $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(SYSTEM_TESTS) $(ARGS)

test-vllm: $(VENV)/dev ## rollouts by vLLM itself, in an environment of its own; minutes, and more to install it
	VLLM=1 $(BIN)/python -m pytest tests/training/core/test_vllm.py $(ARGS)

# needs GNU gettext: see docs/translating.md
messages: $(VENV)/site ## collect the texts to translate into a language (LANG=de)
	@mkdir -p locale
	$(BIN)/python manage.py makemessages --locale $(LANG) --ignore '.venv/*' --ignore 'var/*' --ignore 'tests/*' --no-wrap
	$(BIN)/python manage.py makemessages --locale $(LANG) --ignore '.venv/*' --ignore 'var/*' --ignore 'static/vendor/*' --no-wrap --domain djangojs

messages-compile: $(VENV)/site ## compile the translations of every language
	$(BIN)/python manage.py compilemessages --ignore '.venv'

# psycopg is under the LGPL, which lets others use it; krippendorff is what a test compares our own figures with
COPYLEFT := psycopg psycopg-binary psycopg-pool krippendorff
lint: $(VENV)/dev ## ruff, oxlint, mypy, import-linter, migrations, OpenAPI, licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings static
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	$(BIN)/pip-licenses --partial-match --fail-on "General Public;GPL-2;GPL-3" --ignore-packages $(COPYLEFT) > /dev/null

audit: $(VENV)/dev ## known vulnerabilities of what constraints.txt installs, from PyPI
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

bench-core: $(VENV)/dev ## training beside TRL's: parity, then speed and memory (ARGS=--quick to try it)
	$(BIN)/python -m benchmarks.parity
	$(BIN)/python -m benchmarks.core $(ARGS)

check-gpu: $(VENV)/dev ## whether training is right and fast on this machine's GPU; ten minutes, no models downloaded
	$(BIN)/python -m benchmarks.check_gpu $(ARGS)

bench-learning: $(VENV)/dev ## every method over five seeds, judged by the hidden taste; ten minutes a seed
	$(BIN)/python -m benchmarks.learning $(ARGS)

bench-active-learning: $(VENV)/dev ## whether choosing what to ask saves judgments; fifteen minutes a seed
	$(BIN)/python -m benchmarks.active_learning $(ARGS)

bench-rounds: $(VENV)/dev ## five rounds of dpo and llama2, two tastes, three seeds; many hours
	$(BIN)/python -m benchmarks.rounds $(ARGS)

bench-loop-settings: $(VENV)/dev ## settings of reward models and of DPO, tried on rounds without the site; some hours
	$(BIN)/python -m benchmarks.loop_settings $(ARGS)

bench-feedback: $(VENV)/dev ## AI judges, RLAIF, Constitutional AI, ReST and Hindsight, five seeds; many hours
	$(BIN)/python -m benchmarks.feedback $(ARGS)

bench-rollouts: $(VENV)/dev ## rollouts in process and by vLLM: speed, and whether policies learn the same; half an hour a seed
	$(BIN)/python -m benchmarks.rollouts $(ARGS)

bench-export: $(VENV)/dev ## exports and imports beside a bare COPY and Label Studio (ARGS=--quick to try it)
	$(BIN)/python -m benchmarks.export $(ARGS)

bench-hostile-texts: $(VENV)/dev ## what rendering, masking and comparing cost on hostile texts; a minute
	$(BIN)/python -m benchmarks.hostile_texts

bench-queue: $(VENV)/dev ## the annotators' hot loop beside Label Studio and bare Django (ARGS=--quick to try it)
	$(BIN)/python -m benchmarks.queue $(ARGS)

bench-scale: $(VENV)/dev ## every page and API list with 150,000 and with 1.5 million judgments; an hour, 10 GB of disk
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-chats: $(VENV)/dev ## eight people chat at once on the demo's site, which was played before; three minutes
	$(BIN)/python -m benchmarks.chats

bench: bench-core bench-queue bench-export ## every benchmark

screenshots: $(VENV)/dev browser ## retake the README's pictures, from a demo that has run
	$(BIN)/python docs/screenshots.py

lock: $(BIN)/uv ## resolve the versions into constraints.txt
	$(BIN)/uv pip compile --universal --quiet pyproject.toml --all-extras --group dev --constraints pins.in \
		--no-header --no-annotate --output-file constraints.txt --upgrade
	# one line for torch on every platform; what its CUDA build needs is that wheel's own business
	sed -i -E '/^(nvidia-|cuda-|triton==|torch==)/d' constraints.txt
	grep '^torch' pins.in >> constraints.txt

.PHONY: help install install-dev demo demo-reset serve browser test test-fast test-debian test-vllm lint audit check-gpu bench bench-core bench-queue bench-scale bench-export bench-learning bench-active-learning bench-rounds bench-loop-settings bench-feedback bench-rollouts bench-hostile-texts bench-chats screenshots lock
