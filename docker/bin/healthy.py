#!/usr/bin/env python3
"""Whether a server of this container answers: healthy.py mlflow|head|node; 0 if it does, 1 if not.

`head` asks the books of the Ray cluster and the head's own node, `node` the node (its raylet, which ends by itself when
the head counts it lost). Ports are those that the scripts beside this one listen on.
"""

from __future__ import annotations

import os
import sys
import urllib.request

_SECONDS = 5.0
_SERVING = b"\x08\x01"
"""HealthCheckResponse with status SERVING, of the standard protocol `grpc.health.v1`."""


def port(name: str, usual: int) -> int:
    return int(os.environ.get(name) or usual)


def mlflow() -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port('MLFLOW_PORT', 5000)}/health", timeout=_SECONDS) as answer:
        return bool(answer.status == 200)


def serves(address: str) -> bool:
    """Whether the gRPC server at an address says that it serves.

    Raises:
        grpc.RpcError: it does not answer within five seconds.
    """
    import grpc

    with grpc.insecure_channel(address) as channel:
        return bool(channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=_SECONDS).startswith(_SERVING))


def node() -> bool:
    return serves(f"127.0.0.1:{port('RAY_NODE_PORT', 6380)}")


def head() -> bool:
    return serves(f"127.0.0.1:{port('RAY_PORT', 6379)}") and node()


CHECKS = {"mlflow": mlflow, "head": head, "node": node}


def healthy(what: str) -> bool:
    """Whether a server of this container answers: `mlflow`, `head` or `node`."""
    try:
        return CHECKS[what]()
    except Exception:  # whatever it is, the answer is no
        return False


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in CHECKS:
        print(f"healthy.py: says whether a server answers; give one of {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    if healthy(words[0]):
        return 0
    print(f"{words[0]} does not answer", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
