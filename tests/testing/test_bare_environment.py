"""The conformance checks hold for a correct rule in a shell that sets nothing, or say in a line why they cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.shells import bare

RULES = ("l1", "dropout", "max_norm")
"""Of a penalty, a site in the model and a constraint: the checks once failed for each where MKL_CBWR was not set."""

CHECKS = """
from regsearch.regularizers import all_regularizers
from regsearch.testing import PROPERTIES
for name in RULES:
    for check in ("baseline", "alone", "permuted"):
        PROPERTIES[check](all_regularizers()[name])
print("kept")
"""


def checks(*rules: str) -> str:
    """The code that holds these rules against three of the checks."""
    return CHECKS.replace("RULES", repr(rules))


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code as a user's shell would, with none of what tests/conftest.py sets."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare(), timeout=120)


@pytest.mark.slow
def test_shipped_rules_keep_their_properties_in_a_bare_shell() -> None:
    done = python(checks(*RULES))
    assert done.stdout == "kept\n", done.stderr


def test_torch_may_be_imported_first() -> None:
    done = python("import torch\n" + checks(RULES[0]))
    assert done.stdout == "kept\n", done.stderr


def test_products_made_too_early_are_named_and_no_rule_is_blamed() -> None:
    done = python(
        "import torch\nif not torch.backends.mkl.is_available(): raise SystemExit('no MKL')\n"
        "torch.ones(9, 9) @ torch.ones(9, 9)\n" + checks(RULES[0])
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == "no MKL" or last.startswith("RuntimeError: products of matrices differ from slot to slot"), done
    assert "import regsearch first" in last or last == "no MKL"
