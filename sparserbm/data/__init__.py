"""Where examples come from: data sets by name or path, scaled; sources that are read a mini-batch at a time."""

from sparserbm.data.binarising import binarise
from sparserbm.data.datasets import Dataset, load_dataset
from sparserbm.data.scaling import scale_features
from sparserbm.data.sources import BatchSource, fingerprint

__all__ = ["BatchSource", "Dataset", "binarise", "fingerprint", "load_dataset", "scale_features"]
