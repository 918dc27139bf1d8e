"""Remote devices that measure, behind TVM's RPC tracker."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from sam3port.errors import UsageError

_CONNECT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Devices:
    """All servers of one key."""

    host: str
    port: int
    key: str
    count: int


def find_devices(address: str, key: str) -> Devices:
    """Asks the tracker.

    Args:
        address: ``HOST:PORT``.
        key: that the devices registered with; they have to be of one kind.

    Raises:
        UsageError: no tracker answers there, or it knows no device of that key.
    """
    host, _, number = address.rpartition(":")
    if not host or not number.isdecimal() or not 0 < int(number) < 1 << 16:
        raise UsageError(f"{address} is no address of an RPC tracker", "give HOST:PORT, and the key of the devices")
    port = int(number)
    start = "`python -m tvm.exec.rpc_tracker` starts one"
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError as error:
        raise UsageError(f"no RPC tracker answers at {address}: {error}", start) from None
    from tvm import rpc

    try:
        servers = rpc.connect_tracker(host, port).summary()["server_info"]
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        said = (str(error).strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"what answers at {address} is no RPC tracker: {said}", start) from None
    keys = [str(server["key"]).partition(":")[2] for server in servers]
    if key not in keys:
        known = f"it knows {', '.join(sorted(set(keys)))}" if keys else "it knows no device at all"
        raise UsageError(
            f"the RPC tracker at {address} has no device {key}; {known}",
            f"`python -m tvm.exec.rpc_server --tracker {address} --key {key}` on the device registers it",
        )
    return Devices(host, port, key, keys.count(key))
