"""Degrees: how many connections every unit has, and how unevenly they are shared out."""

from __future__ import annotations

import math

import numpy as np


def fan_out(pre: np.ndarray, n_pre: int) -> np.ndarray:
    """Connections of every pre unit (input), those without any included.

    Parameters
    ----------
    pre : (n_connections,) int, in [0, n_pre)
        The pre unit of each connection, in any order.
    n_pre : int
        Number of pre units.

    Returns
    -------
    (n_pre,) int

    Raises
    ------
    ValueError
        If a connection names a unit that does not exist.
    """
    # Not np.unique: it leaves out the units that lost their last connection.
    return np.bincount(_checked(pre, n_pre), minlength=n_pre)


def _checked(pre: np.ndarray, n_pre: int) -> np.ndarray:
    given = np.asarray(pre)
    if given.size and given.dtype.kind not in "iu":
        raise ValueError(f"pre names units by whole numbers, not {given.dtype}")
    if given.size and (given.min() < 0 or given.max() >= n_pre):
        raise ValueError(
            f"connections name the units {given.min()} to {given.max()}, but n_pre={n_pre}; "
            f"give n_pre={given.max() + 1} or more and no negative unit"
        )
    return given.astype(np.int64)


def strength(pre: np.ndarray, weight: np.ndarray, n_pre: int) -> np.ndarray:
    """Sum of the absolute weights of the connections of every pre unit (input), 0 where there are none.

    Atashgahi et al. (2021) select features by it.

    Parameters
    ----------
    pre : (n_connections,) int, in [0, n_pre)
    weight : (n_connections,) float
    n_pre : int

    Returns
    -------
    (n_pre,) float64

    Raises
    ------
    ValueError
        If a connection names a unit that does not exist.
    """
    return np.bincount(_checked(pre, n_pre), np.abs(np.asarray(weight, dtype=float)), minlength=n_pre)


def survival(pre: np.ndarray, age: np.ndarray, n_pre: int) -> np.ndarray:
    """Mean age of the connections of every pre unit (input), 0 where there are none.

    Parameters
    ----------
    pre : (n_connections,) int, in [0, n_pre)
    age : (n_connections,) int
        Steps since the birth of each connection.
    n_pre : int

    Returns
    -------
    (n_pre,) float64, in steps

    Raises
    ------
    ValueError
        If a connection names a unit that does not exist.
    """
    pre = _checked(pre, n_pre)
    degrees = np.bincount(pre, minlength=n_pre)
    return np.bincount(pre, np.asarray(age, dtype=float), minlength=n_pre) / np.maximum(degrees, 1)


def fan_in(indptr: np.ndarray) -> np.ndarray:
    """Connections of every post unit.

    Parameters
    ----------
    indptr : (n_post + 1,) int
        Row pointer of a CSR pattern.

    Returns
    -------
    (n_post,) int
    """
    return np.diff(np.asarray(indptr, dtype=np.int64))


def degree_image(degrees: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Degrees of the inputs as the image that the inputs form.

    Parameters
    ----------
    degrees : (n_inputs,) array
        One value per pixel, row by row.
    image_shape : (rows, columns)

    Returns
    -------
    (rows, columns) array

    Raises
    ------
    ValueError
        If the image has not one pixel per input.
    """
    degrees = np.asarray(degrees)
    rows, columns = image_shape
    if degrees.shape != (rows * columns,):
        raise ValueError(
            f"degrees of shape {degrees.shape} do not fill an image of {rows} x {columns}; "
            f"give one value per pixel, ({rows * columns},), or another image_shape"
        )
    return degrees.reshape(rows, columns)


def dispersion(degrees: np.ndarray) -> float:
    """Variance of the degrees over their mean; NaN where there is no connection.

    A wiring drawn at random has about 1 - density (binomial degrees); a heavy-tailed one has far more than 1.

    Parameters
    ----------
    degrees : (n_units,) int

    Returns
    -------
    float, at least 0
    """
    degrees = np.asarray(degrees, dtype=float)
    mean = degrees.mean() if degrees.size else 0.0
    return float(degrees.var() / mean) if mean > 0 else math.nan


def dead_units(degrees: np.ndarray) -> int:
    """How many units have no connection at all.

    Parameters
    ----------
    degrees : (n_units,) int

    Returns
    -------
    int
    """
    return int(np.count_nonzero(np.asarray(degrees) == 0))
