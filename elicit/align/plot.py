"""The curves of policies drawn: reward, KL to the start, length, and what was right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from elicit.cache.errors import InputError

PANELS = (
    ("reward", "mean reward, nats"),
    ("kl", "KL to the start, nats a token"),
    ("tokens", "tokens of an answer"),
    ("right", "share of answers that are right"),
)
SMOOTHED = 9
"""Steps that a drawn point is the mean of."""


def draw_curves(
    curves: Mapping[str, Sequence[Mapping[str, float]]], folder: Path, name: str = "curves.svg"
) -> Path:
    """Draw the curve of each supervisor's policy, as `SupervisorMeasure.curve` has it.

    Returns:
        The file, an SVG; the folder is made where it is missing.

    Raises:
        InputError: see `check_drawing`.
    """
    check_drawing(folder)
    from matplotlib.figure import Figure

    panels = [
        (key, title)
        for key, title in PANELS
        if all(key in point for curve in curves.values() for point in curve)
    ]
    figure = Figure(figsize=(3.2 * len(panels), 2.8), layout="constrained")
    for axes, (key, title) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for who, curve in curves.items():
            steps, values = smoothed([(p["step"], p[key]) for p in curve])
            axes.plot(steps, values, label=who)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
    figure.axes[0].legend(fontsize=8)
    path = folder / name
    with _written(path):
        figure.savefig(path, metadata={"Date": None})
    return path


def check_drawing(folder: Path) -> None:
    """See, before anything is made, that it can be drawn into this folder, which is made.

    Raises:
        InputError: matplotlib is not installed, or the folder can't be written.
    """
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise InputError("drawing needs matplotlib: pip install 'elicit-lm[plots]'") from error
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}") from error


def smoothed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Steps and the means of `SMOOTHED` neighbours, fewer where there are fewer."""
    width = min(SMOOTHED, len(points))
    kernel = np.ones(width) / width
    steps, values = (np.convolve([p[i] for p in points], kernel, "valid") for i in (0, 1))
    return steps.tolist(), values.tolist()
