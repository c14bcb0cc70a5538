PYTHON ?= python3
VENV := .venv/bin
ARGS ?=

export HF_HUB_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED := 0
export VLLM_NO_USAGE_STATS := 1
export DO_NOT_TRACK := 1
export TOKENIZERS_PARALLELISM := false
# Compiled bytecode makes every start of vLLM three times as fast.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-seeds serve cluster-local cluster-demo test test-all bench-adaptive bench-corpora bench-gpu bench-sampling bench-sampling-memory bench-scoring bench-training bench-serve refusal-model docs lint dist upgrade-check clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 24

setup:  ## create .venv and install the pinned packages (done by the others when needed)
	@$(PYTHON) cluster/setup_env.py

demo: setup  ## the whole method on the toy world; the report lands in build/demo
	@$(VENV)/python jobs/pipeline.py --config jobs/configs/demo.yaml $(ARGS)

demo-seeds: setup  ## the demo on four fresh seeds with large test sets; results in build/seeds
	@$(VENV)/python jobs/seeds.py --config jobs/configs/demo.yaml --config jobs/configs/seeds.yaml $(ARGS)

serve: setup  ## the demo's CA-DPO model behind an OpenAI-compatible API, with a page, at http://127.0.0.1:8000
	@$(VENV)/python serve/app.py --config jobs/configs/demo.yaml $(ARGS)

bench-gpu: setup  ## our training step on one GPU, beside TRL; build/bench/gpu.json; without a GPU in small on the CPU
	@$(VENV)/python benchmarks/gpu.py $(ARGS)

bench-serve: setup  ## our server against vLLM's own; results in build/bench/serve.json
	@$(VENV)/python benchmarks/serving.py $(ARGS)

cluster-local: setup  ## a Ray cluster of several nodes on this machine, with autoscaler, dashboard and job server
	@$(VENV)/python cluster/local.py $(ARGS)

cluster-demo: setup  ## submit the demo's stages as jobs to the cluster of cluster-local
	@$(VENV)/python cluster/demo.py $(ARGS)

test: lint  ## lint and all tests but the slow ones
	@$(VENV)/python -m pytest -q -m "not slow and not gpu" --durations=10 $(ARGS)

test-all: setup  ## every test that needs no GPU
	@$(VENV)/python -m pytest -q -m "not gpu" --durations=10 $(ARGS)

refusal-model: setup  ## train the refusal detector again on its labelled replies; inbol_ray/scoring/refusal_weights.npz
	@$(VENV)/python -m inbol_ray.scoring.refusal_training $(ARGS)

bench-scoring: setup  ## seconds to judge a million replies on one core
	@$(VENV)/python benchmarks/scoring.py

bench-sampling: setup  ## sampling speed beside bare vLLM, ray.data.llm and Hugging Face; build/bench/sampling.json
	@$(VENV)/python benchmarks/sampling.py $(ARGS)

bench-adaptive: setup  ## what adaptive sampling saves and changes, on what make demo and make demo-seeds sampled
	@$(VENV)/python benchmarks/adaptive.py $(ARGS)

bench-sampling-memory: setup  ## memory of the confidence stage on a corpus that grows tenfold
	@$(VENV)/python benchmarks/sampling_memory.py

bench-corpora: setup  ## memory and speed of reading a corpus that grows tenfold twice
	@$(VENV)/python benchmarks/corpora.py $(ARGS)

bench-training: setup  ## our CA-DPO step against TRL's; build/bench/training.json
	@$(VENV)/python benchmarks/training.py $(ARGS)

docs: setup  ## the documentation as a site, in build/docs
	@$(VENV)/python docs/_make/configuration.py
	@$(VENV)/python docs/_make/demo_results.py > /dev/null
	@$(VENV)/mkdocs build --strict --quiet

lint: setup  ## style, format, types and who imports whom
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports

dist: setup  ## the release's wheel and source archive; build/dist
	@$(VENV)/python -m build --outdir build/dist .

upgrade-check: setup  ## the fast tests with the newest packages that pyproject.toml allows; says what breaks
	@$(VENV)/python cluster/upgrade_check.py $(ARGS)

clean:  ## remove everything that was computed
	rm -rf build
