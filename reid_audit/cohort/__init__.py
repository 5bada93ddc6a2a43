"""Cohorts: training, hold-out or public films, with whose they are, from folders, tables, archives and DICOM."""

from reid_audit.cohort.assemble import Cohort, Subjects, assemble
from reid_audit.cohort.faults import KIND_WORDS, Fault, counted
from reid_audit.cohort.filmstore import FilmStore
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.load import load_cohort, stored_cohort
from reid_audit.cohort.overlap import overlap, require_disjoint
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.read import read_raw
from reid_audit.cohort.render import DEFAULT, applied, render, scaled
from reid_audit.cohort.sample import Sample, sample_pooled
from reid_audit.cohort.shared import Shared, shared
from reid_audit.cohort.source import Source, parse_source
from reid_audit.cohort.strata import refuse_apart, require_common_strata
from reid_audit.cohort.survey import CohortSurvey, survey

__all__ = [
    "DEFAULT",
    "KIND_WORDS",
    "Cohort",
    "CohortSurvey",
    "Fault",
    "FilmStore",
    "Frame",
    "RawFilm",
    "Sample",
    "Shared",
    "Source",
    "Subjects",
    "applied",
    "assemble",
    "counted",
    "load_cohort",
    "overlap",
    "parse_source",
    "read_raw",
    "refuse_apart",
    "render",
    "require_common_strata",
    "require_disjoint",
    "sample_pooled",
    "scaled",
    "shared",
    "stored_cohort",
    "survey",
]
