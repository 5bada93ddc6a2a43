"""Fixed texts of the data-protection edition: the three questions, the glossary, the blocks for an assessment."""

from __future__ import annotations

from dataclasses import dataclass

from reid_audit.records import METRICS, Family, Metric


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the Article 29 Working Party (Opinion 05/2014, WP 216), and the gates that answer it."""

    key: str
    title: str
    asks: str
    tested: str
    """What this audit does to answer it."""
    gates: tuple[Metric, ...]
    """The gate that is shown first comes first."""


def _of(*families: Family, without: tuple[Metric, ...] = ()) -> tuple[Metric, ...]:
    return tuple(m for m, entry in METRICS.items() if entry.family in families and m not in without)


QUESTIONS = (
    Question(
        "singling-out",
        "Singling out",
        "Can films that show one person be drawn from the weights?",
        "Reconstruction: images are made that explain the weights, and then compared with the training films.",
        (Metric.SINGLE_HIT, *_of(Family.LIKELY)),
    ),
    Question(
        "linkability",
        "Linkability",
        "Can what was drawn from the weights be linked to the person it came from?",
        "Linkage: each reconstruction is matched with patients of the training and with patients the model never saw.",
        _of(Family.LINKAGE, without=(Metric.SINGLE_HIT,)),
    ),
    Question(
        "inference",
        "Inference",
        "Can somebody deduce that a person was in the training data, or deduce age or sex?",
        "Membership: films of both cohorts are scored by how well the weights know them; age and sex are read from the "
        "reconstructions.",
        (Metric.MEMBERSHIP_TPR, *_of(Family.MEMBERSHIP, Family.DEMOGRAPHICS, without=(Metric.MEMBERSHIP_TPR,))),
    ),
)

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Weights", "The numbers a model has learnt. Releasing a model means handing them over."),
    ("Training patients", "People whose films the model learnt from. The question is what the weights tell of them."),
    (
        "Hold-out patients",
        "People from the same source whom the model never saw. What the attack finds about them it finds by chance.",
    ),
    ("Reconstruction", "An image made from the weights alone, before any film is opened."),
    ("Linkage", "Saying which person an image shows by comparing it with films of known people."),
    ("Membership", "Saying whether a person's film was used in training, by somebody who already holds the film."),
    (
        "False alarms",
        "Hold-out patients who are wrongly called training patients. Shares here are at 1 in 100 false alarms.",
    ),
    (
        "Interval",
        "The range that holds the true figure in 95 of 100 studies like this one. Small studies have wide intervals.",
    ),
    ("p-value", "How often chance alone would give a result at least this strong. Small means: hardly chance."),
    (
        "Control",
        "A test of the test: would the attack have found something, and does it find nothing where nothing is?",
    ),
    (
        "Canaries",
        "Hold-out patients that a copy of the model is made to memorise, so that the attack can be seen to find them.",
    ),
    ("Prior", "What an attacker knows of such images beforehand, learnt from public films."),
    ("Gate", "A figure with a limit set before the audit. Beyond it the release is stopped."),
    ("Waiver", "A breach that a named person answers for, for this file and until a date."),
)

FILL = "[to be completed by the controller]"

PROPORTIONALITY = (
    "Whether the release is necessary, whether a smaller one would do (predictions on site, weights for named "
    f"recipients under contract), and how it is limited: {FILL}"
)
SEVERITY = (
    "A training patient who is singled out, linked or recognised is shown to have been examined at the controller's "
    "site, and a film of theirs may become known. The severity for the people concerned, given the diagnoses behind "
    f"the films: {FILL}"
)
