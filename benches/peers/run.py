#!/usr/bin/env python3
"""Times IRNeXt in this project's engine and in others.

All run the same network, weights and batch, in turns, in one run.

    python3 benches/peers/run.py --install                    once: engines into target/peers-venv
    python3 benches/peers/run.py --output target/peers.md     everything; .json as well as .md
    python3 benches/peers/run.py --cases infer-256-n3 --peers irnext openvino
    python3 benches/peers/run.py --device cuda --precision bf16 --output target/peers-gpu.md
                                                              on the first GPU

In each round every engine is started, warmed up, timed for a few seconds and stopped, one at a
time, so that no two compete for the processor or for memory; every other round runs in reverse
order. The report has medians over all rounds, and the distance of each engine's result from
irnext's. Needs only Python; missing engines are reported and skipped.
"""

import argparse
import array
import hashlib
import json
import os
import platform
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Task, n, batch x height x width. Photographs of 1280x720 are padded to 1280x736 by
# `irnext-worker make`.
CASES = {
    "infer-256-n3": ("infer", 3, "1x256x256"),
    "infer-256-n13": ("infer", 13, "1x256x256"),
    "infer-1280-n3": ("infer", 3, "1x720x1280"),
    "infer-1280-n13": ("infer", 13, "1x720x1280"),
    "train-256-n3": ("train", 3, "4x256x256"),
    # On a GPU as well as the larger ones above.
    "train-256-n13": ("train", 13, "4x256x256"),
    "train-256-b8-n3": ("train", 3, "8x256x256"),
    "train-256-b8-n13": ("train", 13, "8x256x256"),
    # irnext alone, with one thread and with all.
    "threads-infer-256-n3": ("infer", 3, "1x256x256"),
    "threads-train-256-n3": ("train", 3, "4x256x256"),
}
# Each one's Python modules, and what `export.py` makes for it.
PEERS = {
    "irnext": ([], None),
    "torch": (["torch"], None),
    "torch-channels-last": (["torch"], None),
    "torch-compile": (["torch"], None),
    "torch-compile-channels-last": (["torch"], None),
    "onnxruntime": (["onnxruntime", "torch", "onnx", "onnxscript"], "onnx"),
    "openvino": (["openvino", "torch", "onnx", "onnxscript"], "onnx"),
    "ncnn": (["ncnn", "torch", "pnnx"], "ncnn"),
}
# What is measured if nothing is said.
ON_CPU = {
    "cases": [
        name
        for name in CASES
        if name not in ("train-256-n13", "train-256-b8-n3", "train-256-b8-n13")
    ],
    "peers": list(PEERS),
}
ON_GPU = {
    "cases": [name for name in CASES if name.startswith(("infer-1280", "train"))],
    "peers": ["irnext", "torch-channels-last", "torch-compile-channels-last"],
}
# Compiling takes longest, so these stay, idle, from one round to the next.
KEPT = {"torch-compile", "torch-compile-channels-last"}
WARM_UPS = 2


class Failed(Exception):
    """What went wrong, as a person should read it."""


def main():
    args = arguments()
    if args.install:
        install(args.venv)
        return
    versions, missing = find_peers(args)
    for peer, modules in missing.items():
        print(
            f"{peer} is left out: no {', '.join(modules)} in {args.venv} (--install puts it there)"
        )
    peers = [peer for peer in args.peers if peer not in missing]
    report = {
        "machine": machine(),
        "versions": versions,
        "threads": args.threads,
        "width": args.width,
        "device": args.device,
        "precision": args.precision,
        "cases": [],
    }
    print("\n".join(describe(report)))
    if (report["machine"]["load before"] or 0) > 0.5:
        print("\nThis machine is doing other things as well: its figures will not be steady.")
    args.worker = args.worker or build(args)
    try:
        for name in args.cases:
            report["cases"].append(measure(args, name, peers))
            print("\n".join(["", *table(report["cases"][-1])]), flush=True)
            # Written as it grows: a long run that is broken off leaves what it had.
            write(report, args.output)
    except KeyboardInterrupt:
        raise Failed("interrupted")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help="make the virtual environment, install the engines, end",
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=ROOT / "target/peers-venv",
        help="its folder (target/peers-venv)",
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--cases", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="what computes (cpu)"
    )
    parser.add_argument(
        "--precision", choices=["f32", "tf32", "bf16"], default="f32", help="on a GPU (f32)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of turns (5)")
    parser.add_argument(
        "--seconds", type=float, default=4, help="a turn is timed for so long, at least twice (4)"
    )
    parser.add_argument(
        "--threads", type=int, default=cores(), help="of every engine (one for each physical core)"
    )
    parser.add_argument(
        "--width", type=int, default=32, help="the network's channels at full size (32)"
    )
    parser.add_argument("--output", type=Path, help="report: .md or .json; both are written")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "target/peers",
        help="weights, exports, logs (target/peers)",
    )
    parser.add_argument("--worker", type=Path, help="a built irnext-worker; else cargo builds one")
    parser.add_argument(
        "--timeout",
        type=float,
        default=1800,
        help="seconds for one answer, compiling included (1800)",
    )
    args = parser.parse_args()
    if min(args.rounds, args.threads) < 1:
        parser.error("--rounds and --threads must be at least 1")
    for name, default in (ON_GPU if args.device == "cuda" else ON_CPU).items():
        setattr(args, name, getattr(args, name) or default)
    if args.device == "cpu" and args.precision != "f32":
        parser.error("on the CPU everything is measured in f32")
    args.work, args.venv = args.work.absolute(), args.venv.absolute()
    return args


# ---- What there is


def install(venv):
    """Installs one requirement at a time, so that a missing one does not stop the others."""
    if not python_of(venv).exists():
        print(f"making {venv}")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    lines = [
        line.split("#")[0].strip() for line in (HERE / "requirements.txt").read_text().splitlines()
    ]
    pip = [str(python_of(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    failed = [line for line in lines if line and subprocess.run([*pip, line]).returncode != 0]
    if failed:
        raise Failed(f"could not be installed: {', '.join(failed)}")


def python_of(venv):
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_peers(args):
    """The versions of the modules that are there, and for each peer those that are not."""
    modules = sorted({module for peer in args.peers for module in PEERS[peer][0]})
    versions = {}
    if modules and python_of(args.venv).exists():
        code = (
            "import sys, json, importlib.metadata as m, importlib.util as u\n"
            "found = {name: m.version(name) for name in sys.argv[1:] if u.find_spec(name)}\n"
            "print(json.dumps(found))"
        )
        # Isolated from the folder this is started in.
        run = subprocess.run(
            [python_of(args.venv), "-I", "-c", code, *modules, "safetensors", "numpy"],
            capture_output=True,
        )
        if run.returncode != 0:
            raise Failed(f"{python_of(args.venv)} does not run:\n{run.stderr.decode()}")
        versions = json.loads(run.stdout)
    needs = {
        peer: PEERS[peer][0] + (["safetensors", "numpy"] if PEERS[peer][0] else [])
        for peer in args.peers
    }
    missing = {
        peer: [module for module in needs[peer] if module not in versions] for peer in args.peers
    }
    return versions, {peer: modules for peer, modules in missing.items() if modules}


def build(args):
    if not shutil.which("cargo"):
        raise Failed("no cargo here to build irnext-worker with; --worker names one that is built")
    command = ["cargo", "build", "--release", "-p", "benches", "--bin", "irnext-worker"]
    command += ["--features", "cuda"] if args.device == "cuda" else []
    print(" ".join(command), flush=True)
    run = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"], cwd=ROOT, stdout=subprocess.PIPE
    )
    if run.returncode != 0:
        raise Failed("irnext-worker does not build")
    built = [json.loads(line).get("executable") for line in run.stdout.splitlines()]
    return Path([path for path in built if path][-1])


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def field(text, name):
    """The first `name : value` of a file of /proc."""
    values = (
        line.split(":", 1)[1].strip()
        for line in text.splitlines()
        if line.split(":")[0].strip() == name
    )
    return next(values, "")


def cores():
    """Physical ones that this process may use."""
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    siblings = [
        read(path)
        for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    ]
    return min(usable, len(set(siblings)) or usable)


def gpu():
    """What the driver's own tool says of the first GPU, if it is there."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    if not shutil.which(query[0]):
        return None
    return (
        subprocess.run(query, capture_output=True, text=True).stdout.split("\n")[0].strip() or None
    )


def machine():
    cpu, memory = read("/proc/cpuinfo"), field(read("/proc/meminfo"), "MemTotal")
    flags = [
        flag
        for flag in field(cpu, "flags").split()
        if flag in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile")
    ]
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "processor": field(cpu, "model name") or platform.processor() or platform.machine(),
        "instructions": flags,
        "physical cores": cores(),
        "GPU": gpu(),
        "memory GiB": round(int(memory.split()[0]) / 2**20, 1) if memory else None,
        "system": platform.platform(),
        "irnext commit": git.stdout.strip() or None,
        "date": time.strftime("%Y-%m-%d"),
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


# ---- A case


def measure(args, name, peers):
    """All rounds of a case."""
    task, n, size = CASES[name]
    folder = args.work / name
    folder.mkdir(parents=True, exist_ok=True)
    make = [
        str(args.worker),
        "make",
        "--n",
        str(n),
        "--width",
        str(args.width),
        "--size",
        size,
        str(folder),
    ]
    run = subprocess.run(make, capture_output=True, text=True)
    if run.returncode != 0:
        raise Failed(f"{' '.join(make)}: {run.stdout or run.stderr}")
    # Each row: what it is called, the engine, its threads.
    rows = [
        (peer, peer, args.threads)
        for peer in peers
        if task == "infer" or peer == "irnext" or peer.startswith("torch")
    ]
    if name.startswith("threads-"):
        rows = [(f"irnext, {threads}", "irnext", threads) for threads in sorted({1, args.threads})]
    case = {
        "name": name,
        "task": task,
        "n": n,
        "width": args.width,
        "shape": shape_of(folder / "batch.safetensors"),
    }
    case |= {
        "threads": args.threads,
        "device": args.device,
        "precision": args.precision,
        "rows": {},
    }
    kept = {}
    try:
        for label, peer, _ in rows:
            case["rows"][label] = {"peer": peer, "rounds": []}
            try:
                export(args, folder, peer)
            except Failed as failure:
                case["rows"][label]["failed"] = str(failure)
        for number in range(args.rounds):
            for label, peer, threads in rows if number % 2 == 0 else rows[::-1]:
                row = case["rows"][label]
                if "failed" in row:
                    continue
                note(f"{name}: round {number + 1} of {args.rounds}, {label}")
                try:
                    turn(args, task, folder, label, peer, threads, row, kept)
                except Failed as failure:
                    row["failed"] = str(failure)
    finally:
        note("")
        for worker in kept.values():
            stop(worker)
    summarise(case)
    return case


def note(text):
    """A line that the next one overwrites, for people alone."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def export(args, folder, peer):
    """Converts the network for `peer`, unless the same has been converted before."""
    form = PEERS[peer][1]
    if not form:
        return
    sources = [
        folder / "weights.safetensors",
        folder / "batch.safetensors",
        HERE / "network.py",
        HERE / "export.py",
    ]
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in [*sources, HERE / "requirements.txt"])
    ).hexdigest()
    stamp = folder / f"{form}.made-of"
    if read(stamp) == digest:
        return
    note(f"{folder.name}: {form} is made")
    log = folder / f"{form}.log"
    with open(log, "w") as out:
        command = [python_of(args.venv), HERE / "export.py", form, folder]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    if code != 0:
        raise Failed(f"not converted, see {log}")
    stamp.write_text(digest)


def turn(args, task, folder, label, peer, threads, row, kept):
    """One round of one engine: warmed up, timed; the first one's result is kept for comparison."""
    worker = kept.pop(label, None) or start(args, task, folder, label, peer, threads)
    try:
        for _ in range(WARM_UPS):
            ask(worker, "warm", args.timeout)
        times = []
        while len(times) < 2 or sum(times) < 1e3 * args.seconds:
            times.append(float(ask(worker, "run", args.timeout)))
        row["rounds"].append(times)
        row["memory"] = max(row.get("memory", 0), float(ask(worker, "memory", args.timeout)))
        if "output" not in row:
            row["output"] = str(folder / f"{label}.safetensors")
            ask(worker, f"output {row['output']}", args.timeout)
        if label in KEPT:
            kept[label] = worker
    finally:
        if label not in kept:
            stop(worker)


# ---- A worker, on the protocol that worker.py describes


def start(args, task, folder, label, peer, threads):
    environment = os.environ | {
        name: str(threads) for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if peer == "irnext":
        command = [args.worker, "serve", "--threads", str(threads), task, folder]
    else:
        command = [
            python_of(args.venv),
            HERE / "worker.py",
            peer,
            task,
            folder,
            "--threads",
            str(threads),
        ]
    if args.device != "cpu":
        command += ["--device", args.device, "--precision", args.precision]
    if peer != "irnext":
        # The allocator keeps what it has: in PyTorch, getting fresh pages from the system for every
        # map costs much time.
        environment |= {
            "MALLOC_MMAP_MAX_": "0",
            "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
            "MALLOC_TOP_PAD_": str(1 << 28),
        }
        environment |= {
            "TORCHINDUCTOR_CACHE_DIR": str(args.work / "inductor"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    log = folder / f"{label}.log"
    with open(log, "w") as errors:
        # In a session of its own, so that helpers it starts end with it.
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        worker = subprocess.Popen(
            command, text=True, env=environment, start_new_session=True, **pipes
        )
    worker.log = log
    try:
        answer(worker, args.timeout)
    except Failed:
        stop(worker)
        raise
    return worker


def ask(worker, line, timeout):
    try:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # It has ended; its last line says why.
    return answer(worker, timeout)


def answer(worker, timeout):
    late = threading.Timer(timeout, worker.kill)
    late.start()
    line = worker.stdout.readline().strip()
    late.cancel()
    if line.startswith("error "):
        raise Failed(f"{line[6:]} (log: {worker.log})")
    if not line:
        raise Failed(
            f"ended without an answer, or took longer than {timeout:.0f} s (log: {worker.log})"
        )
    return line


def stop(worker):
    worker.stdin.close()
    try:
        worker.wait(timeout=10)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    worker.stdout.close()
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError):
        pass  # Nothing of it is left.


# ---- Results


def summarise(case):
    """Medians and ratios; the distance of each result from irnext's."""
    rows = case["rows"]
    for row in rows.values():
        times = [time for times in row["rounds"] for time in times]
        if times:
            row |= {"median": statistics.median(times), "best": min(times), "runs": len(times)}
    ours = next((row for row in rows.values() if row["peer"] == "irnext" and "median" in row), None)
    others = {
        label: row["median"]
        for label, row in rows.items()
        if row["peer"] != "irnext" and "median" in row
    }
    case["fastest peer"] = min(others, key=others.get, default=None)
    for row in rows.values():
        if "median" in row:
            row["to irnext"] = row["median"] / ours["median"] if ours else None
            row["to fastest peer"] = (
                row["median"] / others[case["fastest peer"]] if others else None
            )
            # Of training, the losses of the first steps: later ones drift apart with rounding.
            pairs = zip(read_output(row["output"]), read_output(ours["output"])) if ours else ()
            pairs = list(pairs)[: None if case["task"] == "infer" else 1 + WARM_UPS]
            row["difference"] = max((abs(a - b) for a, b in pairs), default=None)


def header(file):
    return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))


def shape_of(path):
    with open(path, "rb") as file:
        return header(file)["input"]["shape"]


def read_output(path):
    """The numbers of a safetensors file that holds one tensor in f32."""
    with open(path, "rb") as file:
        header(file)
        numbers = array.array("f", file.read())
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def describe(report):
    """The machine and the versions, as Markdown."""
    facts = {
        name: ", ".join(fact) if isinstance(fact, list) else fact
        for name, fact in report["machine"].items()
    }
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return [
        *(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        f"- versions: {versions}",
    ][: None if versions else -1]


def table(case):
    """A case as a Markdown table, its columns aligned for the terminal."""
    shape = "x".join(map(str, case["shape"]))
    what = (
        "forward pass"
        if case["task"] == "infer"
        else "training step: forward, loss, backward, Adam"
    )
    threads = "" if case["name"].startswith("threads-") else f", {case['threads']} threads"
    where = threads if case["device"] == "cpu" else ", on the GPU, between events in its stream"
    network = f"n = {case['n']}, width {case['width']}"
    title = f"**{case['name']}**: {what}; {shape}, {network}{where}, {case['precision']}"
    difference = "max \\|Δ\\|" if case["task"] == "infer" else "max \\|Δloss\\|"
    lines = [["", "median ms", "best ms", "/ irnext", "/ fastest peer", "peak MiB", difference]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])

    def show(number, form):
        return "" if number is None else format(number, form)

    by_time = sorted(case["rows"].items(), key=lambda item: item[1].get("median", float("inf")))
    for label, row in by_time:
        if "median" in row:
            numbers = [
                ("median", ".1f"),
                ("best", ".1f"),
                ("to irnext", ".2f"),
                ("to fastest peer", ".2f"),
                ("memory", ".0f"),
            ]
            lines.append(
                [
                    label,
                    *(show(row[key], form) for key, form in numbers),
                    show(row["difference"], ".1e"),
                ]
            )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    cells = [
        [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])),
        ]
        for line in lines
    ]
    failures = [f"{label} failed: {row['failed']}" for label, row in by_time if "failed" in row]
    return [
        title,
        "",
        *("| " + " | ".join(line) + " |" for line in cells),
        *(line for f in failures for line in ("", f)),
    ]


def write(report, path):
    if not path:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [*describe(report), *(line for case in report["cases"] for line in ("", *table(case)))]
    path.with_suffix(".md").write_text("\n".join(text) + "\n")
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError, OSError) as failure:
        sys.exit(f"run.py: {failure}")
