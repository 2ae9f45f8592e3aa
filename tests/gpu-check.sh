#!/usr/bin/env bash
# Everything that only a GPU can show, in one report.
#
#     tests/gpu-check.sh build           on a machine with Rust: builds programs and tests into
#                                        target/gpu-check
#     tests/gpu-check.sh run [<report>]  on a machine with a GPU, in a copy of the same tree: runs
#                                        them and writes target/gpu-check/report.md
#
# Nothing but the driver is needed there. cuDNN, NVIDIA's compute-sanitizer, Python with PyTorch are
# used if they are there; missing ones are named. It ends with 0 if everything that could be run
# passed.
#
# A rehearsal on the emulator (kernels/emulator), which is slow:
#     LD_LIBRARY_PATH=$PWD/target/cuda-emulator IRNEXT_CASES=1 IRNEXT_STEPS=1 IRNEXT_SIZE=64
#     tests/gpu-check.sh run
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=target/gpu-check

build() {
    set -e
    rm -rf "$out"
    mkdir -p "$out"
    cargo build --release --features cuda -p irnext -p benches --bin irnext --bin irnext-worker
    cp target/release/irnext target/release/irnext-worker "$out/"
    # The tests' programs, under the names of their targets; with every check that a release leaves
    # out: memory of its exact size, full of NaN.
    cargo test --features cuda -p irnext-cuda-driver -p irnext-engine -p tests --no-run \
        --message-format=json |
        python3 -c '
import json, shutil, sys
wanted = {("driver", "test"): "driver", ("engine", "lib"): "engine", ("device", "test"): "device",
          ("gpu", "test"): "gpu", ("parity", "test"): "parity"}
for line in sys.stdin:
    message = json.loads(line)
    target = message.get("target", {})
    name = wanted.get((target.get("name"), (target.get("kind") or [""])[0]))
    if name and message.get("executable"):
        shutil.copy(message["executable"], sys.argv[1] + "/test-" + name)
        print("test-" + name)
' "$out"
    strip --strip-debug "$out"/* 2> /dev/null || true
    du -sh "$out"
}

run() {
    report=${1:-$out/report.md}
    logs=$out/logs
    mkdir -p "$logs" "$(dirname "$report")"
    failed=0
    size=${IRNEXT_SIZE:-1280}
    export ENGINE_REQUIRE_CUDA=1 IRNEXT_STEPS=${IRNEXT_STEPS:-20} IRNEXT_DEVICE=cuda
    export CARGO_MANIFEST_DIR=$PWD/tests
    {
        echo "# What a GPU shows"
        echo
        commit=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
        echo "$(date -u +%Y-%m-%d), commit $commit"
        nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader \
            2> /dev/null ||
            echo "no nvidia-smi"
    } > "$report"
    part "Devices" "$out/irnext" devices
    part "The driver has every symbol" "$out/test-driver"
    part "Memory, copies, launches, recordings" "$out/test-engine" cuda::
    part "Every operation against the CPU" \
        "$out/irnext" gradcheck --device cuda --cases "${IRNEXT_CASES:-40}"
    part "The op modules' own tests" "$out/test-engine" cuda
    part "PyTorch's numbers" "$out/test-parity" --nocapture
    part "The network and $IRNEXT_STEPS steps of training beside the CPU" \
        "$out/test-gpu" --nocapture
    if command -v compute-sanitizer > /dev/null; then
        for tool in memcheck racecheck initcheck synccheck; do
            part "compute-sanitizer, $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$out/irnext" gradcheck --device cuda --cases 2
        done
    else
        skip "compute-sanitizer" "it is not on this machine"
    fi
    for precision in f32 tf32 bf16 f16; do
        for n in 3 13; do
            part "A pass at $size×$size, n = $n, $precision" \
                "$out/irnext" info --n "$n" --size "$size" --device cuda --precision "$precision"
        done
    done
    if python3 -c 'import torch, safetensors; assert torch.cuda.is_available()' 2> /dev/null; then
        for precision in f32 tf32 bf16; do
            part "Beside PyTorch, $precision" \
                python3 benches/peers/run.py --device cuda --precision "$precision" --rounds 3 \
                --venv "$(python3 -c 'import sys; print(sys.prefix)')" \
                --worker "$PWD/$out/irnext-worker" --output "$out/peers-$precision.md"
        done
    else
        skip "Beside PyTorch" "there is no PyTorch with CUDA on this machine"
    fi
    echo >> "$report"
    if [ "$failed" = 0 ]; then
        echo "All of that passed." >> "$report"
    else
        echo "$failed parts FAILED." >> "$report"
    fi
    cat "$report"
    [ "$failed" = 0 ]
}

part() { # title, command...: its last lines go into the report, all of them into a log
    local title=$1 log="$logs/${1//[^A-Za-z0-9]/-}.txt" code=0 start=$SECONDS
    shift
    "$@" > "$log" 2>&1 || code=$?
    [ "$code" = 0 ] || failed=$((failed + 1))
    {
        printf '\n## %s: %s\n\n' "$title" \
            "$([ "$code" = 0 ] && echo passed || echo "FAILED ($code)")"
        printf '    %s    (%d s)\n\n' "$*" $((SECONDS - start))
        tail -n 40 "$log" | cut -c 1-200 | sed 's/^/    /'
    } >> "$report"
    echo "$title: $([ "$code" = 0 ] && echo passed || echo FAILED)" >&2
}

skip() { # title, why
    printf '\n## %s: left out\n\n%s\n' "$1" "$2" >> "$report"
}

case "${1:-}" in
    build) build ;;
    run) shift && run "$@" ;;
    *) sed -n '2,11p' "${BASH_SOURCE[0]}" | sed 's/^# \?//' && exit 2 ;;
esac
