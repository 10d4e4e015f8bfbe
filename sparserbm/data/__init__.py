"""Where examples come from: data sets by name or path, scaled."""

from sparserbm.data.datasets import Dataset, fingerprint, load_dataset
from sparserbm.data.scaling import scale_features

__all__ = ["Dataset", "fingerprint", "load_dataset", "scale_features"]
