"""All of the preprocessing declared and its control left out: nothing is searched, and an audit takes seconds less.

For tests of whole audits that are about something else; the search has tests of its own (tests/network).
"""

from __future__ import annotations

from reid_audit.records import PreprocessPolicy, PreprocessSpec

SIDE = 32
PREPROCESS = PreprocessPolicy(
    declared=PreprocessSpec(
        side=SIDE, resize="squash", crop="none", interpolation="bilinear", turn="none", mean=(0.0,), std=(1.0,)
    )
)
"""Films in [0, 1] at ``SIDE``. Without ``Controls(preprocess_fit=False)`` the control searches all the same."""
NOT_SEARCHED = f"""
[preprocess]
side = {SIDE}
resize = "squash"
crop = "none"
interpolation = "bilinear"
turn = "none"
mean = [0.0]
std = [1.0]
[controls]
preprocess_fit = false
"""
"""The same for a policy file; lines that follow belong to ``[controls]``."""
