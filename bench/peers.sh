#!/bin/sh
# Makes the virtual environment that the benchmarks compare with, and prints what is in it.
#   bench/peers.sh FOLDER
# PyTorch, transformers, PEFT, the peers of tokenizers, and llama.cpp through llama-cpp-python, compiled here for this processor: a ready-made wheel would
# leave its widest instructions unused. pip's own settings apply (an index with PyTorch for the CPU alone saves a large download).
# Needs python3-venv, a C++ compiler and cmake. Packages that are there already stay as they are: for new versions, a new folder.
# shellcheck disable=SC2086  # $packages is a list of names
set -eu
[ $# -eq 1 ] || { echo "usage: bench/peers.sh FOLDER" >&2; exit 2; }
folder=$1
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
python=$folder/bin/python
packages="torch transformers peft tokenizers sentencepiece tiktoken gguf jinja2 numpy"

"$python" -m pip install --quiet --disable-pip-version-check $packages
# --no-cache-dir: a wheel in pip's cache may have been compiled without these flags.
CMAKE_ARGS="-DGGML_NATIVE=ON" CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" "$python" -m pip install --quiet --disable-pip-version-check \
  --no-cache-dir --no-binary llama-cpp-python llama-cpp-python

"$python" - $packages llama-cpp-python <<'PYTHON'
import importlib.metadata
import platform
import sys

import llama_cpp
import torch

print("python", platform.python_version())
for name in sys.argv[1:]:
    print(name, importlib.metadata.version(name))
print("torch uses", torch.backends.cpu.get_cpu_capability())
print("llama.cpp uses", llama_cpp.llama_print_system_info().decode().strip())
PYTHON
