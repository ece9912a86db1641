"""Losses: a number to make small, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.layers.base import Floats


def softmax_cross_entropy(logits: Floats, labels: NDArray[np.integer[Any]]) -> tuple[float, Floats]:
    """Mean cross-entropy of the softmax of `logits`, and its gradient.

    Parameters
    ----------
    logits : ndarray of shape (..., classes)
        One row per sample, or per place of every sequence.
    labels : ndarray of integers
        One for each row, from 0 to classes - 1.

    Returns
    -------
    loss : float
    gradient : ndarray
        Of the loss for the logits, in their shape and dtype.

    Raises
    ------
    ValueError
        If there is not one label per row.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> loss, gradient = training.softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(loss, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"logits must have a row for each label, got {logits.shape} and {labels.shape}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < logits.shape[-1]:
        raise ValueError(
            f"labels must be from 0 to {logits.shape[-1] - 1}, as there are {logits.shape[-1]} "
            f"logits, got {labels.min()} to {labels.max()}"
        )
    matrix, wanted = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    rows = np.arange(len(wanted))
    shifted = matrix - matrix.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probabilities = shifted - log_total
    loss = -float(log_probabilities[rows, wanted].mean(dtype=np.float64))
    gradient = np.exp(log_probabilities)
    gradient[rows, wanted] -= 1
    return loss, (gradient / len(wanted)).reshape(logits.shape)


def mean_squared_error(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    """Mean of the squares of the differences, and its gradient.

    Parameters
    ----------
    outputs, targets : ndarray of equal shapes

    Returns
    -------
    loss : float
    gradient : ndarray
        Of the loss for the outputs, in their shape and dtype.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> training.mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (2.0, array([0., 2.]))
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs and targets must have one shape, got {outputs.shape} and {targets.shape}"
        )
    difference = outputs - targets.astype(outputs.dtype, copy=False)
    loss = float(np.square(difference, dtype=np.float64).mean())
    return loss, difference * (2 / difference.size)
