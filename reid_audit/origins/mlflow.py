"""runs:/RUN/ARTIFACT, models:/NAME/VERSION and mlflow://RUN/ARTIFACT: an artifact of the MLflow server that is set.

Which server, ``MLFLOW_TRACKING_URI`` says. A logged PyTorch model is a pickled network; it is read without being run.
"""

from __future__ import annotations

from pathlib import Path

from reid_audit.errors import PolicyError
from reid_audit.origins import bundle
from reid_audit.origins.folder import weights_below
from reid_audit.origins.interface import Fetched, library, setting, unreachable

FORM = "runs:/RUN_ID/ARTIFACT, mlflow://RUN_ID/ARTIFACT or models:/NAME/VERSION"


def fetch(uri: str, folder: Path) -> Fetched:
    """The weights in an artifact. Raises PolicyError for a wrong address, CheckpointError where it fails."""
    asked = uri.replace("mlflow://", "runs:/", 1) if uri.startswith("mlflow://") else uri
    parts = asked.partition(":/")[2].split("/")
    if not asked.startswith(("runs:/", "models:/")) or len(parts) < 2 or not all(parts) or ".." in parts:
        raise PolicyError(f"{uri} is no address of an artifact", closest=FORM, remedy="write it in one of these forms")
    mlflow = library("mlflow", "mlflow", "MLflow")
    try:
        with setting("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"):
            found = Path(mlflow.artifacts.download_artifacts(artifact_uri=asked, dst_path=str(folder)))
    except Exception as error:  # MLflow's own, those of its stores and of HTTP share no base
        raise unreachable(uri, error, "check the run, the artifact's name and MLFLOW_TRACKING_URI") from error
    file = weights_below(found, uri) if found.is_dir() and not (found / bundle.METADATA).is_file() else found
    taken = bundle.unpacked(file, folder)
    return Fetched(taken.file, asked, taken.declared)
