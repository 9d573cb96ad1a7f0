#!/usr/bin/env bash
# torch 2.13.0: `make_fx` in its default mode, "real", makes a FakeTensorMode of its own for every result that it notes in
# `node.meta["val"]`, each with a stack trace, so that the notes of one graph belong to as many modes as it has nodes and
# cannot be propagated together; in mode "fake" they share one. Noting is most of the time that tracing takes: the graph
# is the same without. Only to read one flag, `make_fx` imports the whole of torch._dynamo besides, a second of work in
# a process that compiles nothing.
#
# Seen: torch._dynamo imported by make_fx True; 32 notes of 32 modes, in mode fake of 1; same graph without notes True;
# with notes 3.4 times as long (it is held to 1.5).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "torch==2.13.0" numpy
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import statistics
import sys
import time

import torch
from torch.fx.experimental import proxy_tensor

before = "torch._dynamo" in sys.modules


def step(w, x):
    for _ in range(10):
        w = torch.tanh(w * x + 1)
    return w


def traced(mode="real"):
    return proxy_tensor.make_fx(step, tracing_mode=mode)(torch.ones(3), torch.ones(3))


def modes(graph):
    notes = [node.meta["val"] for node in graph.graph.nodes if "val" in node.meta]
    return len(notes), len({id(note.fake_mode) for note in notes})


def seconds():
    start = time.perf_counter()
    for _ in range(20):
        traced()
    return time.perf_counter() - start


real, fake = traced(), traced("fake")
imported = not before and "torch._dynamo" in sys.modules
noting, ratios = proxy_tensor.set_meta, []
for _ in range(7):
    proxy_tensor.set_meta = noting
    with_notes = seconds()
    proxy_tensor.set_meta = lambda proxy, val: proxy
    ratios.append(with_notes / seconds())
same = traced().code == real.code
print(f"torch {torch.__version__}: torch._dynamo imported by make_fx {imported}")
print("notes, modes: real %s, fake %s; same graph without notes %s" % (modes(real), modes(fake), same))
print(f"with notes {statistics.median(ratios):.1f} times as long [{min(ratios):.1f}, {max(ratios):.1f}]")
assert imported and same and modes(real) == (32, 32) and modes(fake) == (32, 1), "this has changed"
assert statistics.median(ratios) > 1.5, "this has changed"
PYTHON
