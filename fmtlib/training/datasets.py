"""Data sets, split into training, validation and test parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Part:
    """Samples and their labels.

    Attributes
    ----------
    x : ndarray
        Samples along the first axis: float32, or integers such as characters.
    y : ndarray, shape (N, ...)
        Classes, from 0, one for each sample or for each place of a sequence: int64.  Or what
        outputs should be: float32.
    """

    x: NDArray[Any]
    y: NDArray[Any]

    def __post_init__(self) -> None:
        if not self.x.ndim or not self.y.ndim or len(self.x) != len(self.y):
            raise ValueError(
                f"x and y must have one entry per sample, got shapes {self.x.shape} and "
                f"{self.y.shape}"
            )

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three parts of a data set.  The validation part may be empty.

    Attributes
    ----------
    train, validation, test : Part
    """

    train: Part
    validation: Part
    test: Part


def digits(seed: int = 0, *, test: float = 0.25, validation: float = 0.1) -> Dataset:
    """scikit-learn's handwritten digits: 1797 images of 8 × 8 pixels in 10 classes.

    Pixels, integers from 0 to 16, are divided by 16.  The split is stratified.

    Parameters
    ----------
    seed : int
        Of the split.
    test : float
        Share of the images, at least 0 and below 1, in the test part.
    validation : float
        Share of the others in the validation part; 0 leaves it empty.

    Returns
    -------
    Dataset
        Samples of shape (N, 1, 8, 8), float32.

    Raises
    ------
    ImportError
        If scikit-learn is missing.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (its test set).

    Examples
    --------
    >>> from fmtlib import training
    >>> data = training.digits(seed=0)
    >>> len(data.train), len(data.validation), len(data.test)
    (1211, 136, 450)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'the digits come with scikit-learn: pip install "fmtlib[demo]"'
        ) from error
    bunch = load_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    return split(images, bunch.target, seed, test=test, validation=validation)


def split(
    x: ArrayLike, y: ArrayLike, seed: int = 0, *, test: float = 0.25, validation: float = 0.1
) -> Dataset:
    """Split samples at random into three parts with the same mixture of classes.

    Parameters
    ----------
    x : array_like
        Samples along the first axis; becomes float32.
    y : array_like of integers, shape (N,)
        Their classes, from 0.
    seed, test, validation
        As for `digits`.  Every class gives each part its share, rounded to nearest even.

    Returns
    -------
    Dataset
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {share}")
    samples, labels = np.asarray(x, np.float32), np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"y must be integers, got {labels.dtype}")
    generator = np.random.default_rng(seed)
    rows: list[list[NDArray[np.intp]]] = [[], [], []]
    for label in np.unique(labels):
        of_class = generator.permutation(np.flatnonzero(labels == label))
        to_test = round(test * len(of_class))
        to_validation = round(validation * (len(of_class) - to_test))
        bounds = [to_test, to_test + to_validation]
        for chosen, some in zip(rows, np.split(of_class, bounds), strict=True):
            chosen.append(some)

    def part(chosen: list[NDArray[np.intp]]) -> Part:
        order: NDArray[Any] = np.sort(np.concatenate(chosen))
        return Part(samples[order], labels[order].astype(np.int64))

    test_rows, validation_rows, train_rows = rows
    return Dataset(part(train_rows), part(validation_rows), part(test_rows))
