# `make demo` and `make test` each work as the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
# An index with the CPU build of torch (pytorch.org gives its address); empty: PyPI's build, which brings CUDA.
TORCH_INDEX ?=
DEMO_DIR := sottovoce-demo

.PHONY: demo test large torture load check check-plain-install format lock clean help

help:
	@echo "make demo    install, optimize whisper-tiny.en, benchmark it, write $(DEMO_DIR)/report.html"
	@echo "make test    install what is missing and run the tests"
	@echo "make large   run the tests that take minutes and gigabytes"
	@echo "make torture kill, starve and interrupt commands on whisper-tiny.en, for hours"
	@echo "make load    measure a server of RUN under load, with the recording AUDIO"
	@echo "make check   format, lint and type checks"
	@echo "make check-plain-install  test a plain, unpinned pip install"
	@echo "make format  rewrite the code in the project's format"
	@echo "make lock    resolve requirements/*.txt again"

demo: $(VENV)/installed-demo
	$(BIN)/sottovoce demo --out $(DEMO_DIR) --force

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2

large: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 0 --large -m large

# Rounds of each: moments of a kill of each of four commands, processes in a crowd, moments of a signal, sizes of a disk and of
# memory, changes to a bundle.
TORTURE := $(BIN)/python -m pytest -n 0 -q -s -p no:randomly --timeout 0 --torture-real

torture: $(VENV)/installed-dev
	$(TORTURE) --torture 13 tests/torture/test_kill.py
	$(TORTURE) --torture 20 tests/torture/test_crowd.py
	$(TORTURE) --torture 50 tests/torture/test_interrupt.py
	$(TORTURE) --torture 10 tests/torture/test_limits.py
	$(TORTURE) --torture 1000 tests/torture/test_bundles.py
	$(BIN)/python tests/torture/hostile_audio.py
	$(BIN)/python tests/torture/crafted_models.py

load: $(VENV)/installed-dev
	PYTHONPATH=. $(BIN)/python tests/measure/server_load.py $(RUN) $(AUDIO)
	$(if $(PEERS),PYTHONPATH=. $(BIN)/python tests/measure/server_load.py $(RUN) $(AUDIO) $(PEERS:%=--peer %))
	PYTHONPATH=. $(BIN)/python tests/measure/server_start.py $(RUN)
	PYTHONPATH=. $(BIN)/python tests/measure/server_hostile.py $(RUN) --requests 10000
	PYTHONPATH=. $(BIN)/python tests/measure/server_uploads.py $(RUN)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check-plain-install: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 0 --plain tests/test_plain_install.py

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# uv installs the pinned and hashed requirements; pip only brings uv. From TORCH_INDEX comes the pinned version of torch, without
# a hash; then the packages of CUDA are left out.
# Compiled at once: each process of the tests would compile torch and transformers for itself where Python writes no bytecode.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
CUDA := ^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==

define install
	$(if $(TORCH_INDEX),$(INSTALL) --no-deps --default-index $(TORCH_INDEX) $$(grep -oE '^torch(vision)?==[0-9.]+' $(1)))
	$(if $(TORCH_INDEX),awk '/^[^ #]/ { keep = $$0 !~ /$(CUDA)/ } keep' $(1) > $(VENV)/requirements.txt)
	$(INSTALL) --require-hashes $(if $(TORCH_INDEX),--no-deps -r $(VENV)/requirements.txt,-r $(1))
	$(INSTALL) --no-deps -e .
	@echo "installed into $(VENV): $$(du -sh $(VENV) | cut -f1)"
endef

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/installed-demo: requirements/demo.txt pyproject.toml | $(BIN)/uv
	$(call install,requirements/demo.txt)
	touch $@

$(VENV)/installed-dev: requirements/dev.txt pyproject.toml | $(BIN)/uv
	$(call install,requirements/dev.txt)
	touch $@ $(VENV)/installed-demo

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11

# The demo's requirements are a part of the developer's: one version of each package for both.
lock: | $(BIN)/uv
	$(LOCK) pyproject.toml --extra train --extra models --extra peers --extra datasets --extra cluster --extra bundle --extra signing --extra serve --group dev \
		-o requirements/dev.txt
	$(LOCK) pyproject.toml --extra optimize --extra benchmark --extra models -c requirements/dev.txt \
		-o requirements/demo.txt

clean:
	rm -rf $(VENV) $(DEMO_DIR) dist .mypy_cache .ruff_cache .pytest_cache
