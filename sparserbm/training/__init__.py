"""The one training loop, and the two ways to get coactivity."""

from sparserbm.training.backprop import Backprop
from sparserbm.training.begin import resume, train
from sparserbm.training.callbacks import EarlyStopping
from sparserbm.training.cd import CD, Sparsity
from sparserbm.training.checkpoint import Checkpoint, load_model
from sparserbm.training.corruption import GaussianNoise, Masking
from sparserbm.training.errors import DivergenceError, EfficiencyWarning, OutOfMemoryError
from sparserbm.training.hybrid import Hybrid
from sparserbm.training.losses import CrossEntropy, SquaredError, SumOfSquares
from sparserbm.training.optimizers import SGD, Adam
from sparserbm.training.stack import StackRun, resume_stack, train_stack
from sparserbm.training.zone import Central, Columns, Deviation, Information, Rectangle

__all__ = [
    "CD",
    "SGD",
    "Adam",
    "Backprop",
    "Central",
    "Checkpoint",
    "CrossEntropy",
    "Deviation",
    "Information",
    "Columns",
    "DivergenceError",
    "EarlyStopping",
    "EfficiencyWarning",
    "GaussianNoise",
    "Hybrid",
    "Masking",
    "OutOfMemoryError",
    "Rectangle",
    "Sparsity",
    "SquaredError",
    "StackRun",
    "SumOfSquares",
    "load_model",
    "resume",
    "resume_stack",
    "train",
    "train_stack",
]
