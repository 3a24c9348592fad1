"""Broken kernels of a plan: who would crash, at which values, in whose words."""

from __future__ import annotations

import json

from plans import K, plan_of, planned

from kregistry.compile.broken_calls import broken_error, broken_kernels
from kregistry.events import FailedKernel

WHO = "model: sample n={} layout=row splits=none sms=132"
#: What nvcc 13.0 says of a kernel of DeepGEMM 0.1.4, shortened.
WORDS = """
/include/a.cuh(61): error: static assertion failed with "Invalid block size"
      static_assert(BLOCK_M % WGMMA::M == 0, "Invalid block size");
      ^
          detected during instantiation of "void impl<SHAPE_M>(int *)"

1 error detected in the compilation of "kernel.cu".
"""


def test_every_user_is_named_with_its_values_and_the_compilers_errors() -> None:
    """Neighbouring segments that share the kernel are one range."""
    first = planned((1, 16, "1"), (17, 32, "10"), (33, 40, "0"), (41, 41, "1"))
    plan = plan_of(first, planned((1, 8, "0"), n=16), planned((3, 9, "1"), n=24))
    (broken,) = broken_kernels(plan, [FailedKernel(K[1], "nvcc", WORDS, known=True)])
    assert str(broken).splitlines() == [
        f"{K[1].id} is known not to compile",
        f"    a server would crash in {WHO.format(8)} at m 1..32, 41",
        f"    a server would crash in {WHO.format(24)} at m 3..9",
        '    /include/a.cuh(61): error: static assertion failed with "Invalid block size"',
        '    1 error detected in the compilation of "kernel.cu".',
    ]
    assert json.loads(json.dumps(broken.to_json())) == {
        "id": K[1].id,
        "output": WORDS,
        "known": True,
        "crashes": [
            {"entry": WHO.format(8), "range": "m", "spans": [[1, 32], [41, 41]]},
            {"entry": WHO.format(24), "range": "m", "spans": [[3, 9]]},
        ],
    }


def test_the_error_counts_them_and_has_an_exit_code_of_its_own() -> None:
    plan = plan_of(planned((1, 16, "01")))
    error = broken_error(broken_kernels(plan, [FailedKernel(K[0], "nvcc", "odd")]), 2, ("another problem",))
    lines = str(error).splitlines()
    assert (lines[0], lines[-2], error.exit_code) == ("1 of 2 kernels do not compile", "  another problem", 5)
    assert lines[-1].startswith("hint: --allow-broken")
