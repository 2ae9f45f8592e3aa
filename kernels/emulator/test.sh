#!/usr/bin/env bash
# Tests the emulator itself, with its own small kernels: what must run rightly does so in every
# order of threads and streams, and planted mistakes are caught.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CXX=${CXX:-g++}
export EMULATOR_SOURCES=$here/tests EMULATOR_OUT=$here/../../target/cuda-emulator-test
"$here/build.sh" > /dev/null
"$here/build.sh" --sanitize > /dev/null
for kind in "" -sanitized; do
    out=$EMULATOR_OUT$kind
    [ "$out/test" -nt "$here/tests/test.cpp" ] && [ "$out/test" -nt "$out/libcuda.so.1" ] ||
        "$CXX" -std=c++17 -O1 -g1 -Wall -Wextra \
            $([ -z "$kind" ] || echo "-fsanitize=address,undefined") \
            "$here/tests/test.cpp" "$out/libcuda.so.1" -Wl,-rpath,"$out" -lpthread -o "$out/test"
done

failures=0
run() { # kind of build, case; the output goes to $log
    # In a shell of its own, which keeps quiet when the case aborts.
    bash -c 'ASAN_OPTIONS=detect_leaks=0 timeout 60 "$@"; exit $?' run \
        "$EMULATOR_OUT$1/test" "$here/tests/ptx/kernels.ptx" "$2" > "$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fails() {
    echo "FAILED: $*"
    cat "$log"
    failures=$((failures + 1))
}
passes() { # kind of build, case
    run "$@" || fails "$2${1:+ ($1)} seed ${CUDA_EMULATOR_SEED:-}"
}
caught() { # in how many seeds of 20 at least, case
    local least=$1 name=$2 count=0 seed
    for seed in $(seq 20); do CUDA_EMULATOR_SEED=$seed run "" "$name" || count=$((count + 1)); done
    echo "$name: caught in $count of 20 orders"
    [ "$count" -ge "$least" ] || fails "$name was caught in only $count of 20 orders"
}
says() { # kind of build, case, what its output must say as it fails
    if run "$1" "$2"; then fails "$2 was not caught"; fi
    grep -q "$3" "$log" || fails "$2 did not say: $3"
    echo "$2: caught"
}

for seed in $(seq 8); do
    export CUDA_EMULATOR_SEED=$seed
    for name in barriers shuffles numbers launches streams graphs trap; do passes "" $name; done
    CUDA_EMULATOR_MEMORY=1048576 passes "" out_of_memory
done
CUDA_EMULATOR_SEED=9
for name in barriers shuffles numbers launches streams graphs trap; do passes -sanitized $name; done
CUDA_EMULATOR_MEMORY=1048576 passes -sanitized out_of_memory

caught 18 missing_barrier
caught 10 missing_barrier_after_shuffle
caught 5 missing_wait
caught 20 missing_synchronize
says "" divergent "kernel divergent, block (.,0,0), thread (10,0,0) waits at __syncwarp"
says "" out_of_date "kernel out_of_date.*is it out of date"
says -sanitized overrun "heap-buffer-overflow"
says -sanitized shared_overrun "heap-buffer-overflow"
[ "$failures" = 0 ] && echo "the emulator is all right"
