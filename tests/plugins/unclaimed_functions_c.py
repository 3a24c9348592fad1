"""What DeepGEMM 0.2.5 has more, and less, than DeepGEMM 0.2.3 (unclaimed_functions_b.py)."""

from __future__ import annotations

from tests.plugins.unclaimed_functions import _HOST, _TORCH

#: Unclaimed functions that DeepGEMM 0.2.3 does not have, and why they are not claimed.
ADDED: dict[str, tuple[str, ...]] = {
    _TORCH: ("localize", "localize_rows"),
    _HOST: (
        "destroy_localizer",
        "get_num_locality_domains",
        "is_localization_available",
        "is_localized",
        "shutdown",
    ),
}

#: Names of the list of DeepGEMM 0.2.3 that DeepGEMM 0.2.5 does not have.
GONE = ("get_bf16_mega_gate_config",)
