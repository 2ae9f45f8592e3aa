#!/usr/bin/env bash
# Builds the stand-in for CUDA's driver library, with every kernel compiled for the CPU:
#
#     build.sh               target/cuda-emulator/libcuda.so.1
#     build.sh --sanitize    target/cuda-emulator-sanitized/libcuda.so.1, with AddressSanitizer
#                            and UBSan
#
# and beside it libcudnn.so.9 and libnccl.so.2, stand-ins for the parts of cuDNN and NCCL that the
# program uses.
#
# Only g++ (or $CXX) is needed. A host finds the library through LD_LIBRARY_PATH; the sanitized one
# also needs its runtime preloaded, as the last line printed says. Outputs newer than their sources
# stay.
#
# EMULATOR_SOURCES and EMULATOR_OUT name other kernels (a folder with src/ and ptx/) and another
# output.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernels=$(cd "${EMULATOR_SOURCES:-$here/..}" && pwd)
out=${EMULATOR_OUT:-$here/../../target/cuda-emulator}
CXX=${CXX:-g++}
# A module's PTX is compiled from a source once per element type: compile.sh has the same list.
TYPES="float:f32 double:f64 half_t:f16 bfloat_t:bf16"

if ! command -v "$CXX" > /dev/null; then
    echo "the CUDA emulator needs a C++17 compiler: $CXX is not there (apt install g++)" >&2
    exit 1
fi
case "$(uname -m)" in
    # GPUs contract a product and a sum; no other freedom is taken with arithmetic.
    x86_64) arithmetic="-mfma -ffp-contract=fast" ;;
    aarch64) arithmetic="-ffp-contract=fast" ;;
    *) arithmetic="-ffp-contract=off" ;;
esac
flags="-std=c++17 -g1 -fPIC -fvisibility=hidden -fno-strict-aliasing -Wall -Wextra $arithmetic"
sanitized=false
undefined=
if [ "${1:-}" = --sanitize ]; then
    sanitized=true
    out=$out-sanitized
    flags="$flags -O1 -fno-omit-frame-pointer -fsanitize=address"
    # For the kernels alone: it is slow to compile.
    undefined="-fsanitize=undefined -fno-sanitize-recover=undefined"
elif [ $# -gt 0 ]; then
    echo "usage: $0 [--sanitize]" >&2
    exit 1
else
    flags="$flags -O2"
fi
mkdir -p "$out/objects"
out=$(cd "$out" && pwd)
exec 9> "$out/lock"
flock 9 # two builds at once would spoil each other

# Everything is built anew when the flags or the compiler change.
stamp="$CXX $("$CXX" -dumpfullversion -dumpversion) $flags"
if [ "$(cat "$out/flags" 2> /dev/null)" != "$stamp" ]; then
    rm -f "$out"/objects/*
    echo "$stamp" > "$out/flags"
fi

stale() { # output, inputs...: whether an input is newer
    local output=$1 input
    shift
    [ -e "$output" ] || return 0
    for input; do [ ! "$input" -nt "$output" ] || return 0; done
    return 1
}

headers=("$here"/*.h)
shared=("$kernels"/src/*.cuh)
[ -e "${shared[0]}" ] || shared=()
objects=()
jobs=$out/jobs # commands, one a line
: > "$jobs"

for source in "$here"/*.cpp; do
    object=$out/objects/emulator_$(basename "$source" .cpp).o
    objects+=("$object")
    if stale "$object" "$source" "${headers[@]}"; then
        echo "$CXX $flags -include '$here/cuda.h' -c '$source' -o '$object'" >> "$jobs"
    fi
done

# A module is its source in a namespace of its own (two modules may well name different things
# alike), and a line for each entry of its PTX.
module() { # name, source, definitions
    local name=$1 source=$2 definitions=$3
    local ptx=$kernels/ptx/$name.ptx
    [ -e "$ptx" ] || ptx=$kernels/ptx/checks/$name.ptx
    local object=$out/objects/$name.o unit=$out/objects/$name.cpp
    objects+=("$object")
    if [ ! -e "$ptx" ]; then
        echo "$source has no PTX at $ptx: compile it first" >&2
        exit 1
    fi
    stale "$object" "$source" "$ptx" "$here/cuda.h" "${shared[@]}" || return 0
    {
        echo "namespace module_$name {"
        echo "#include \"$source\""
        sed -n 's/^\.visible \.entry \([A-Za-z0-9_$]*\).*/EMULATOR_KERNEL(\1)/p' "$ptx"
        echo "}"
    } > "$unit"
    local options="$flags $undefined -Wno-unknown-pragmas -include '$here/cuda.h' $definitions"
    echo "$CXX $options -c '$unit' -o '$object'" >> "$jobs"
}
for source in "$kernels"/src/*.cu; do
    [ -e "$source" ] || continue
    base=$(basename "$source" .cu)
    if grep -q SUFFIX "$source" "${shared[@]}"; then
        only=$(sed -n 's|^// Compiled for: ||p' "$source")
        for type in $TYPES; do
            [[ -z $only || " $only " == *" ${type#*:} "* ]] || continue
            module "${base}_${type#*:}" "$source" "-DELEMENT=${type%:*} -DSUFFIX=${type#*:}"
        done
    else
        module "$base" "$source" ""
    fi
done

tr '\n' '\0' < "$jobs" | xargs -0 -r -P "$(nproc)" -I{} bash -c '{}'
rm -f "$jobs"
library=$out/libcuda.so.1
if stale "$library" "${objects[@]}" ||
    [ "$(cat "$out/objects/list" 2> /dev/null)" != "${objects[*]}" ]; then
    "$CXX" $flags $undefined -shared -Wl,-soname,libcuda.so.1 -Wl,-z,defs "${objects[@]}" \
        -ldl -lpthread -o "$library.new"
    mv "$library.new" "$library"
    echo "${objects[*]}" > "$out/objects/list"
fi
cudnn=$out/libcudnn.so.9
if stale "$cudnn" "$here"/cudnn/*.{h,cpp} "$here/cuda.h" "$out/flags"; then
    "$CXX" $flags $undefined -shared -Wl,-soname,libcudnn.so.9 -Wl,-z,defs \
        "$here/cudnn/cudnn.cpp" "$library" -lpthread -o "$cudnn.new"
    mv "$cudnn.new" "$cudnn"
fi
nccl=$out/libnccl.so.2
if stale "$nccl" "$here/nccl/nccl.cpp" "$out/flags"; then
    "$CXX" $flags $undefined -shared -Wl,-soname,libnccl.so.2 -Wl,-z,defs \
        "$here/nccl/nccl.cpp" "$library" -lpthread -lrt -o "$nccl.new"
    mv "$nccl.new" "$nccl"
fi
if $sanitized; then
    # The runtime looks for the function that throws before a library that has it is loaded, unless
    # that is preloaded, too.
    runtime=$(readlink -f "$("$CXX" -print-file-name=libasan.so)")
    runtime=$runtime:$(readlink -f "$("$CXX" -print-file-name=libstdc++.so)")
    echo "LD_PRELOAD=$runtime ASAN_OPTIONS=detect_leaks=0 LD_LIBRARY_PATH=$out"
else
    echo "LD_LIBRARY_PATH=$out"
fi
