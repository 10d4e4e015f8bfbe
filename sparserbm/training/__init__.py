"""The one training loop, and the two ways to get coactivity."""

from sparserbm.training.backprop import Backprop
from sparserbm.training.begin import resume, train
from sparserbm.training.callbacks import EarlyStopping
from sparserbm.training.cd import CD
from sparserbm.training.checkpoint import load_model
from sparserbm.training.errors import DivergenceError, EfficiencyWarning, OutOfMemoryError
from sparserbm.training.losses import CrossEntropy, SquaredError
from sparserbm.training.optimizers import SGD, Adam
from sparserbm.training.zone import Central, Deviation, Rectangle

__all__ = [
    "CD",
    "SGD",
    "Adam",
    "Backprop",
    "Central",
    "CrossEntropy",
    "Deviation",
    "DivergenceError",
    "EarlyStopping",
    "EfficiencyWarning",
    "OutOfMemoryError",
    "Rectangle",
    "SquaredError",
    "load_model",
    "resume",
    "train",
]
