#!/usr/bin/env bash
# compile.sh [<source>... | --check]
#
# Compiles src/*.cu, or those that are named (without .cu), to ptx/*.ptx, once per element type, or
# for those that a source lists in a line "// Compiled for: ...". What computes in f64 for checks
# alone goes to ptx/checks. With --check nothing is written: the committed files are compared with
# the output, and assembled for every generation of GPUs, which is how an instruction that one of
# them lacks is found. The compiler is pinned: PTX from a newer one asks for a newer driver than
# people have. It comes as a Python package.
set -euo pipefail
cd "$(dirname "$0")"

NVRTC=12.0.140
PTXAS=12.9.86
ARCHITECTURES="sm_70 sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120"
TYPES="float:f32 double:f64 half_t:f16 bfloat_t:bf16"
# Whose f64 the program needs, for norms and other sums.
IN_F64="cast pointwise reduce"

tools=../target/cuda-tools-$NVRTC-$PTXAS
if [ ! -e "$tools/ready" ]; then
    rm -rf "$tools"
    # 3 means that only the compiler is missing.
    python3 -m venv "$tools" ||
        { echo "python3 with its venv module is needed (apt install python3-venv)"; exit 3; }
    "$tools/bin/pip" install --quiet --no-deps \
        "nvidia-cuda-nvrtc-cu12==$NVRTC" "nvidia-cuda-nvcc-cu12==$PTXAS" ||
        { echo "the pinned compiler could not be downloaded"; exit 3; }
    touch "$tools/ready"
fi
nvidia=$(echo "$PWD/$tools"/lib/python3*/site-packages/nvidia)
export LD_LIBRARY_PATH="$nvidia/cuda_nvrtc/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export nvidia

compile() { # source, element type, suffix, output
    python3 nvrtc.py "$nvidia/cuda_nvrtc/lib/libnvrtc.so.12" "$1" "$4" \
        --gpu-architecture=compute_70 --std=c++17 -default-device -Isrc "-DELEMENT=$2" "-DSUFFIX=$3"
}
assemble() { # architecture, PTX
    "$nvidia/cuda_nvcc/bin/ptxas" "-arch=$1" "$2" -o /dev/null ||
        { echo "$2 does not assemble for $1"; exit 1; }
}
export -f compile assemble

out=ptx
if [ "${1:-}" = --check ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out/checks"
[ "$#" -gt 0 ] && [ "$1" != --check ] && names=("$@") || names=($(basename -s .cu src/*.cu))
for source in "${names[@]/#/src/}"; do
    source=$source.cu
    only=$(sed -n 's|^// Compiled for: ||p' "$source")
    for type in $TYPES; do
        suffix=${type#*:}
        [[ -z $only || " $only " == *" $suffix "* ]] || continue
        name=$(basename "$source" .cu) folder=$out
        [[ $suffix != f64 || " $IN_F64 " == *" $name "* ]] || folder=$out/checks
        echo "$source ${type%:*} $suffix $folder/${name}_$suffix.ptx"
    done
done | xargs -P "$(nproc)" -L 1 bash -c 'compile "$@"' compile

if [ "${1:-}" = --check ]; then
    if ! diff -rq ptx "$out"; then
        echo "kernels/ptx is not what kernels/src compiles to: run kernels/compile.sh"
        exit 1
    fi
    for ptx in ptx/*.ptx ptx/checks/*.ptx; do
        for architecture in $ARCHITECTURES; do echo "$architecture $ptx"; done
    done | xargs -P "$(nproc)" -L 1 bash -c 'assemble "$@"' assemble
    count=$(ls ptx/*.ptx ptx/checks/*.ptx | wc -l)
    echo "$count PTX files match their sources, and assemble for $ARCHITECTURES"
fi
