"""Exports the weights and the batch in a folder: export.py onnx|ncnn FOLDER.

Writes network.onnx, or network.ncnn.param and network.ncnn.bin.
"""

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

from network import load


def main(form, folder):
    os.chdir(folder)
    network, x = load("weights.safetensors"), load_file("batch.safetensors")["input"]
    if form == "onnx":
        # Sizes are fixed, as they are for everybody. The new exporter writes weights into a second
        # file unless told not to.
        torch.onnx.export(
            network, (x,), "network.onnx", dynamo=True, external_data=False, opset_version=18
        )
        return
    import pnnx

    torch.jit.trace(network, x).save("network.pt")
    program = os.path.join(os.path.dirname(pnnx.__file__), "pnnx")
    shape = "[" + ",".join(map(str, x.shape)) + "]"
    # f32 weights; ncnn's own halves them otherwise.
    subprocess.run([program, "network.pt", f"inputshape={shape}", "fp16=0"], check=True)
    with open("network.ncnn.param") as file:
        unknown = {line.split()[0] for line in file.readlines()[2:] if "." in line.split()[0]}
    if unknown:
        raise SystemExit(f"pnnx found nothing in ncnn for: {', '.join(sorted(unknown))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
