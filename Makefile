# Everything installs itself into .venv; needs python3 (3.11 to 3.13), venv, make and the package registries.
PYTHON  ?= python3
PROFILE ?= quick
DATA    ?=
OUTPUTS ?= outputs
JOBS    ?=
DEVICE  ?= cpu
TABLE   ?=
BIN     := .venv/bin
# The certificates that the machine trusts, as behind a company proxy.
export UV_SYSTEM_CERTS := true
# A person's own settings change neither results nor looks (esc_suite/run/environment.py does this for what is started).
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT PYTHONIOENCODING JUPYTER_PATH MPLBACKEND
export PYTHONUTF8 := 1
export JUPYTER_PREFER_ENV_PATH := 1
export MATPLOTLIBRC := /dev/null
# What a user gives goes through the environment, as it was given: neither make nor the shell reads a $ or a quote in it.
override PROFILE := $(value PROFILE)
override DATA    := $(value DATA)
override OUTPUTS := $(value OUTPUTS)
override JOBS    := $(value JOBS)
override TABLE   := $(value TABLE)
export PROFILE DATA OUTPUTS JOBS TABLE
PLACES   = --profile="$$PROFILE" --outputs="$$OUTPUTS" --data="$$DATA"
DRIVE    = $(BIN)/python workflow/drive.py $(PLACES) $(if $(JOBS),--jobs="$$JOBS")

.PHONY: help install tables table1 table2 table3 table4 table5 table6 table7 report pages reproduce sensitivity bench first-light first-light-collect check-paper test test-browser torture lab data check lint clean label
help:
	@echo "make tables [PROFILE=quick|lite|paper-partial|paper] [DATA=dir]   Tables 1 to 5 and the report"
	@echo "make table2 ... table5                              one table"
	@echo "make table6, make table7                            ours, beyond the paper: adaptive thresholds; unknown sounds in the pool"
	@echo "make label DATA=my_clips [PROFILE=lite] [LABEL=--fast]  labels for your own recordings, from the few you have labelled"
	@echo "make pages                                          every rendered notebook as one HTML file"
	@echo "make reproduce [PROFILE=...] [DATA=dir] [TABLE=2]   trains again and compares every number with the committed evidence"
	@echo "make sensitivity                                    what the paper leaves open: each alternative against our choice"
	@echo "make bench [BENCH='--only a,b'] [DEVICE=cuda]       speed beside a plain FixMatch over panns-inference, as ratios"
	@echo "make first-light                                    packs what a GPU without a network needs (tools/bench/first_light.py)"
	@echo "make check-paper                                    the paper profile's plan and one full-width step on this CPU"
	@echo "make test                                           all tests but those in a browser"
	@echo "make test-browser                                   the notebooks in JupyterLab, in headless Chromium"
	@echo "make torture                                        training killed 20 times ends as undisturbed"
	@echo "make lab                                            JupyterLab on the notebooks"
	@echo "make data [PROFILE=lite|paper]                      download UrbanSound8K and the profile's weights (none given: all)"
	@echo "make check                                          is this machine ready?"

install:
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) esc_suite/run/install.py

tables: install
	@exec $(DRIVE)
table1 table2 table3 table4 table5 table6 table7: install
	@exec $(DRIVE) --tables $(@:table%=%)
report: tables
label: install
	@$(BIN)/python -m esc_suite label --profile="$$PROFILE" --outputs="$$OUTPUTS" $(LABEL) -- "$$DATA"
pages: install
	@$(BIN)/python tools/page.py --profile="$$PROFILE" --outputs="$$OUTPUTS"
reproduce: install
	@$(BIN)/python tools/reproduce.py $(PLACES) --tables="$$TABLE" $(if $(JOBS),--jobs="$$JOBS")
sensitivity: install
	@exec $(DRIVE) --sensitivity
bench: install
	@$(BIN)/python tools/bench/bench.py --device "$(DEVICE)" $(BENCH)
first-light: install
	@$(BIN)/python tools/bench/first_light_pack.py pack
first-light-collect: install
	@$(BIN)/python tools/bench/first_light_pack.py collect "$(FOUND)" --commit "$(COMMIT)" --outputs="$$OUTPUTS"
check-paper: install
	@$(BIN)/python -m esc_suite check-paper
test: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 10
torture: install
	@ESC_KILLS=20 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/test_torture.py
# Debian's Chromium: it comes with the libraries it needs, which a downloaded one does not.
test-browser: install
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	  else echo "error: no Chromium: install Debian's package chromium, or set CHROMIUM=/path/to/it"; exit 1; fi
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser --durations 5
lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
lab: install
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --notebook-dir . --LabApp.default_url=/lab/tree/notebooks/01_data_exploration.ipynb
data: install
	@$(BIN)/python -m esc_suite download --profile="$$PROFILE"
check: install
	@$(BIN)/python -m esc_suite check $(PLACES)
clean:
	@test -f "params/profiles/$$PROFILE.yaml" || { echo "error: no profile '$$PROFILE' in params/profiles"; exit 1; }
	rm -rf "outputs/$$PROFILE" outputs/cache .snakemake
