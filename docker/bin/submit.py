#!/usr/bin/env python3
"""Runs a study on the Ray cluster at RAY_ADDRESS.

    submit.py FILE [OPTIONS]      as `regsearch study start FILE [OPTIONS]`
    submit.py resume NAME         as `regsearch study resume NAME`; `finalize` likewise

The driver joins as a node without cores, so it talks to the workers directly, without Ray Client in between and without
the job interface, which runs whatever code it is sent. The node ends with the study; the exit code is the study's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from healthy import healthy

HERE = Path(__file__).resolve().parent
ON_CLUSTER = ("resume", "finalize")
REFUSED = 2
_ANSWERS_WITHIN = 5.0
_JOINS_WITHIN = 60.0
_ENDS_WITHIN = 15.0


def command(words: list[str], address: str) -> list[str]:
    """The `regsearch` command that the words stand for."""
    order = words if words[0] in ON_CLUSTER else ["start", *words]
    return ["regsearch", "study", *order, "--ray", address]


def refuse(line: str) -> None:
    print(f"submit: {line}", file=sys.stderr)
    sys.exit(REFUSED)


def token() -> str:
    """The token of the cluster: given to this process, or where another one has put it."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return os.environ.get("RAY_AUTH_TOKEN") or (file.read_text().strip() if file.exists() else "")


def refuse_useless(address: str) -> None:
    """Refuse at once what Ray would try for a minute: an address where no head answers, or takes another token."""
    import grpc

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        refuse(f"RAY_ADDRESS is {address!r}; allowed is HOST:PORT of the head")
    try:
        with grpc.insecure_channel(address) as channel:
            nodes = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
            nodes(b"", timeout=_ANSWERS_WITHIN, metadata=[("authorization", f"Bearer {token()}")])
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            refuse(f"the cluster at RAY_ADDRESS {address} takes another token than RAY_AUTH_TOKEN")
        refuse(f"no cluster answers at RAY_ADDRESS {address} ({error.code().name}); is its head up?")


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """A node of the cluster on this machine, without cores, for as long as the study runs."""
    with tempfile.TemporaryFile() as said:
        node = subprocess.Popen(
            [str(HERE / "ray-node.sh"), "--num-cpus=0", "--num-gpus=0"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is the study's to handle, which needs its node until the round ends
        )
        try:
            end = time.monotonic() + _JOINS_WITHIN
            while not healthy("node"):
                if node.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    sys.stderr.buffer.write(said.read()[-2000:])
                    refuse(f"this machine did not join the cluster at {os.environ['RAY_ADDRESS']}")
                time.sleep(0.2)
            yield
        finally:
            node.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(_ENDS_WITHIN)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)


def main(words: list[str]) -> int:
    address = os.environ.get("RAY_ADDRESS", "")
    if not words:
        refuse("give a study file, or `resume NAME` or `finalize NAME`")
    refuse_useless(address)
    with joined():
        os.environ.pop("RAY_AUTH_TOKEN", None)  # the node has put it into its file
        # In a session of its own it hears of a signal once, from here, and not from a terminal besides.
        study = subprocess.Popen(command(words, address), start_new_session=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, frame: study.send_signal(signum))
        return study.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
