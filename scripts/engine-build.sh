#!/bin/sh
# Build llama-cpp-python for what this machine has, and say which: CUDA where a GPU answers and nvcc is there, Metal on
# a Mac, else the CPU. A wheel that pip built before with the same settings is taken from its cache.
set -eu
python=${PYTHON:-python3}

if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && command -v nvcc >/dev/null 2>&1; then
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | sort -u | tr -d . | paste -sd ';' -)
    echo "engine: building llama.cpp for CUDA (architecture $arch)"
    export CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=$arch ${CMAKE_ARGS:-}"
    # pip's cache does not know for what a wheel was built: one of its own keeps the CPU's out of the way.
    export PIP_CACHE_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/corral/pip-cuda-$(echo "$arch" | tr ';' '-')"
elif [ "$(uname -s)" = Darwin ]; then
    echo "engine: building llama.cpp for Metal"
    export CMAKE_ARGS="-DGGML_METAL=on ${CMAKE_ARGS:-}"
else
    echo "engine: building llama.cpp for the CPU (4 minutes on 2 cores the first time)"
fi
exec "$python" -m pip install --quiet "llama-cpp-python>=0.3.36,<0.4"
