"""Studies: models x a grid of settings x seeds -> run folders -> tables, tests between cells, figures and a report."""

from sparserbm.studies.comparisons import COMPARED, significant
from sparserbm.studies.engine import study
from sparserbm.studies.figures import draw
from sparserbm.studies.grid import STUDY_EPOCHS, STUDY_MLP, STUDY_RBM, STUDY_SETTINGS, default_of, grid_key, value_text
from sparserbm.studies.outcome import Study

__all__ = [
    "COMPARED",
    "STUDY_EPOCHS",
    "STUDY_MLP",
    "STUDY_RBM",
    "STUDY_SETTINGS",
    "Study",
    "default_of",
    "draw",
    "grid_key",
    "significant",
    "study",
    "value_text",
]
