"""The modules of a library that are no host code, with machine code for CUDA in place of its source.

TVM's wheel compiles CUDA C only where a CUDA driver is; elsewhere its module keeps the source, and the library compiles
it whenever it is loaded, with nvcc or NVRTC, which would then have to be there. What such a module writes into a
library says in which form its code is, and ``fatbin`` is one that TVM's runtime hands to the driver as it is
(apache/tvm, src/backend/cuda/runtime/cuda_module.cc). So the form and the code are exchanged in the bytes that are
written, by the hook that ``export_library`` has for them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sam3port.errors import Sam3PortError

_SOURCE, _BINARY = "cuda", "fatbin"
_SYMBOL: Final = "__tvm_ffi__library_bin"
_ASSEMBLY: Final = """\
    .section .rodata
    .globl {symbol}
    .balign 64
{symbol}:
    .incbin "{file}"
    .section .note.GNU-stack,"",%progbits
"""


def pack_with(binaries: Mapping[str, bytes]) -> Callable[[Any, bool, str, str], str]:
    """For ``export_library(fpack_imports=...)``.

    Args:
        binaries: by CUDA source, what it was compiled to.
    """

    def pack(module: Any, _is_system_library: bool, prefix: str, folder: str) -> str:
        import tvm

        packed = bytes(tvm.get_global_func("runtime.ModulePackImportsToTensor")(module).numpy())
        for source, binary in binaries.items():
            packed = exchange(packed, source.encode(), binary)
        content, assembly = Path(folder, "imports.bin"), Path(folder, "imports.S")
        content.write_bytes(packed)
        assembly.write_text(_ASSEMBLY.format(symbol=prefix + _SYMBOL, file=content), encoding="utf-8")
        return str(assembly)

    return pack


def exchange(packed: bytes, source: bytes, binary: bytes) -> bytes:
    """``packed`` with ``binary`` in place of ``source``.

    What is packed: its own length, then for each module its kind and what it wrote, each string behind its length; all
    lengths are 64 bits. A CUDA module wrote: the form of its code, descriptions of its functions, its code.

    Raises:
        Sam3PortError: it is laid out otherwise, as another TVM may do it.
    """
    code = _text(source)
    start = packed.find(code)
    end = start + len(code)
    form = _text(_SOURCE.encode())
    begin = packed.rfind(form, 0, start) if start > 0 else -1
    while begin > 0 and struct.unpack_from("<Q", packed, begin - 8)[0] != end - begin:
        begin = packed.rfind(form, 0, begin)
    if start < 0 or begin < 8 or struct.unpack_from("<Q", packed)[0] != len(packed) - 8:
        raise Sam3PortError("this TVM writes CUDA modules in a form that is not known", "use apache-tvm 0.27")
    described = packed[begin + len(form) : start]
    module = _text(_BINARY.encode()) + described + _text(binary)
    rest = packed[8 : begin - 8] + _text(module) + packed[end:]
    return _text(rest)


def _text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content
