"""Images, patient ids and demographics -> Cohort."""

from reid_audit.cohort.assemble import Cohort, assemble
from reid_audit.cohort.load import load_cohort, load_images
from reid_audit.cohort.overlap import overlap, require_disjoint
from reid_audit.cohort.source import foresee, parse_source

__all__ = ["Cohort", "assemble", "foresee", "load_cohort", "load_images", "overlap", "parse_source", "require_disjoint"]
