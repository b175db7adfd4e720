# Every target is one line; what takes more than a line is a script in scripts/. They may all be repeated.
.PHONY: help demo test lint bench scoreboard cross fuzz sanitize clean

help:      ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ /'

demo:      ## set up, then convert and run a trained model end to end (samples/digits)
	@scripts/setup.sh demo,torch && .venv/bin/python samples/digits/run.py

test:      ## set up, then every test: C++ (per instruction set) and Python
	@scripts/setup.sh dev,torch && scripts/test_cpp.sh release && .venv/bin/python -m pytest tests -n auto

lint:      ## ruff, mypy, clang-format
	@scripts/setup.sh dev,torch && scripts/lint.sh

bench:     ## latency beside torch and onnxruntime -> benchmarks/results/
	@scripts/setup.sh dev,torch,bench && .venv/bin/python -m benchmarks.compare

scoreboard: ## the ONNX backend suite: edgec beside onnxruntime, in one call
	@scripts/setup.sh dev,torch,bench && .venv/bin/python -m benchmarks.scoreboard

cross:     ## the runtime for 64-bit ARM with zig, its tests under qemu
	@.venv/bin/python -m pip install -q ziglang && scripts/test_cpp.sh aarch64

fuzz:      ## one minute of hostile .edge files against the reader (needs clang)
	@scripts/fuzz.sh 60

sanitize:  ## the C++ tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	@scripts/test_cpp.sh asan && scripts/test_cpp.sh tsan

clean:     ## remove what was built, keep .venv
	@rm -rf build
