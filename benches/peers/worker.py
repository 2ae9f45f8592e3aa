"""One engine, computing a case when told to.

    worker.py PEER TASK FOLDER --threads N [--device cuda --precision f32|tf32|bf16]

PEER is a key of `PEERS`, TASK infer or train, FOLDER has weights.safetensors, batch.safetensors,
and their export by `export.py`. Prints `ready VERSION`, or `error REASON`, then obeys the lines of
standard input, answering each with a line:

    warm, run      compute once     milliseconds
    output PATH    write the last prediction, or the losses of all steps, as `output` in a
                   safetensors file     ok
    memory         the process's peak so far     MiB

`benches/src/bin/irnext-worker.rs` speaks the same.
"""

import argparse
import os
import sys
import time

RATE = 1e-4  # Adam's learning rate; irnext-worker.rs has the same.


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("task", choices=["infer", "train"])
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    args = parser.parse_args()
    # Libraries print what they like: their standard output is sent to standard error, ours goes to
    # a copy.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        serve(args, out)
    except Exception as error:
        import traceback

        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        print(f"error {type(error).__name__}: {lines[0]}", file=out)
        return 1
    return 0


def serve(args, out):
    import numpy
    from safetensors.numpy import load_file, save_file

    os.chdir(args.folder)
    batch = load_file("batch.safetensors")
    # `compute` takes nothing and returns a prediction or a loss; `to_numpy` is not timed.
    version, compute, to_numpy = PEERS[args.peer](args, batch)
    outputs = []
    print(f"ready {version}", file=out)
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command in ("warm", "run"):
            milliseconds, output = timed(compute, args.device)
            # All losses, but only the last prediction.
            outputs = (outputs if args.task == "train" else []) + [output]
            print(f"{milliseconds:.3f}", file=out)
        elif command == "output":
            arrays = [numpy.asarray(to_numpy(output), dtype=numpy.float32) for output in outputs]
            array = numpy.stack(arrays) if args.task == "train" else arrays[0]
            save_file({"output": numpy.ascontiguousarray(array)}, path)
            print("ok", file=out)
        elif command == "memory":
            print(f"{peak_memory():.1f}", file=out)
        else:
            raise ValueError(f"unknown command: {line.strip()}")


def timed(compute, device):
    """Milliseconds and the result; on a GPU between two events of its stream, without transfers."""
    if device == "cpu":
        start = time.perf_counter()
        output = compute()
        return 1e3 * (time.perf_counter() - start), output
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    output = compute()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end), output


def peak_memory():
    """MiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0.0


def pytorch(args, batch, channels_last=False, compiled=False):
    import torch

    from network import dual_domain, load

    torch.set_num_threads(args.threads)
    gpu = args.device == "cuda"
    if gpu:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
            args.precision == "tf32"
        )
    # On a GPU: CUDA graphs and a search for the fastest kernels.
    compile = lambda network: torch.compile(network, mode="max-autotune" if gpu else None)
    autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = load("weights.safetensors").to(args.device, memory_format=layout)
    x, target = (
        torch.from_numpy(batch[name]).to(args.device).contiguous(memory_format=layout)
        for name in ("input", "target")
    )
    version, to_numpy = torch.__version__, lambda y: y.detach().float().cpu().numpy()
    if args.task == "infer":
        if compiled:
            import torch._inductor.config

            torch._inductor.config.freezing = True
            network = compile(network)

        @torch.inference_mode()
        def predict():
            with autocast:
                return network(x).clone()

        return version, predict, to_numpy

    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=gpu)
    forward = compile(network) if compiled else network

    def step():
        optimizer.zero_grad()
        with autocast:
            predictions = forward(x)
        loss = dual_domain([prediction.float() for prediction in predictions], target)
        loss.backward()
        optimizer.step()
        return loss

    return version, step, to_numpy


def onnxruntime(args, batch):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(
        "network.onnx", options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return (
        onnxruntime.__version__,
        lambda: session.run(None, {name: batch["input"]})[0],
        lambda y: y,
    )


def openvino(args, batch):
    import openvino

    config = {
        "INFERENCE_NUM_THREADS": args.threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Without this it computes in bf16 where the processor can.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model("network.onnx", "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(batch["input"]))

    def predict():
        request.infer()
        return request.get_output_tensor().data

    return openvino.__version__, predict, lambda y: y.copy()


def ncnn(args, batch):
    import ncnn
    import numpy

    net = ncnn.Net()
    net.opt.num_threads = args.threads
    # f32 throughout, as everybody else.
    for option in (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_storage",
    ):
        setattr(net.opt, option, False)
    for load, path in (
        (net.load_param, "network.ncnn.param"),
        (net.load_model, "network.ncnn.bin"),
    ):
        if load(path) != 0:
            raise RuntimeError(f"ncnn does not take {path}; the log says why")
    # Keeps its own copy: a Mat made of an array is a view of it.
    x = ncnn.Mat(numpy.ascontiguousarray(batch["input"][0])).clone()

    def predict():
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], x)
        code, y = extractor.extract(net.output_names()[0])
        if code != 0:
            raise RuntimeError(f"ncnn ended with code {code}")
        return y

    return ncnn.__version__, predict, lambda y: numpy.array(y)[None]


PEERS = {
    "torch": pytorch,
    "torch-channels-last": lambda *given: pytorch(*given, channels_last=True),
    "torch-compile": lambda *given: pytorch(*given, compiled=True),
    "torch-compile-channels-last": lambda *given: pytorch(
        *given, channels_last=True, compiled=True
    ),
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "ncnn": ncnn,
}

if __name__ == "__main__":
    sys.exit(main())
