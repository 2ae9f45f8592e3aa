"""Compiles a CUDA source to PTX with NVRTC: nvrtc.py <libnvrtc> <source> <output> <option>...

The source's name inside the PTX is fixed, so that the output depends only on the source, the
options and NVRTC's version. Blank lines and comments, an eighth of it, are left out.
"""

import ctypes
import os
import sys


def main():
    library, source, output, *options = sys.argv[1:]
    nvrtc = ctypes.CDLL(library)
    program = ctypes.c_void_p()
    with open(source, "rb") as file:
        text = file.read()
    name = os.path.basename(source).encode()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None):
        sys.exit("NVRTC could not be started")
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    failed = nvrtc.nvrtcCompileProgram(program, len(options), arguments)

    def text_of(size, get):
        length = ctypes.c_size_t()
        size(program, ctypes.byref(length))
        buffer = ctypes.create_string_buffer(length.value)
        get(program, buffer)
        return buffer.value

    log = text_of(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode()
    if log.strip():
        print(f"{source}:\n{log}", file=sys.stderr)
    if failed:
        sys.exit(1)
    ptx = text_of(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX).splitlines()
    with open(output, "wb") as file:
        for line in ptx:
            if line.strip() and not line.lstrip().startswith(b"//"):
                file.write(line + b"\n")


main()
