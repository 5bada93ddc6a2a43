"""The refusal of a pickle that names code."""

from __future__ import annotations

from reid_audit.errors import UnsafeCheckpointError

SAVE_STATE = "save model.state_dict() alone, best as safetensors: safetensors.torch.save_file(...)"


def unsafe_error(names: tuple[str, ...]) -> UnsafeCheckpointError:
    """The refusal for ``names``."""
    shown = ", ".join(name[:80] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return UnsafeCheckpointError(
        f"reading the file would import or call {shown}",
        closest="what may be named is listed in docs/checkpoints.md; this is not",
        remedy=SAVE_STATE,
    )


def unlisted_error(names: tuple[str, ...]) -> UnsafeCheckpointError:
    """The refusal for ``names`` that only the policy forbids."""
    error = unsafe_error(names)
    return UnsafeCheckpointError(
        error.what,
        closest='the policy says pickled_code = "refuse"; "warn" reads the tensors and imports nothing',
        remedy=error.remedy,
    )
