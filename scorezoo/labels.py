"""Labels of a data set as numbers 0, 1, ... with names; never rounded, never guessed.

Class names that are numbers stand in numeric order (folder 10 after folder 9); strings are sorted;
a missing label is -1. Fractions are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["number_labels", "parse_labels"]


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def number_labels(
    values: Sequence[Any], names: Sequence[str] | None = None
) -> tuple[list[int], tuple[str, ...]]:
    """Numbers and class names of a column of labels.

    Args:
        values: Integers, whole floats, booleans, strings or None.
        names: What the integers stand for, where the data set says so.

    Raises:
        ValueError: If a value is a fraction or something else; its row is named.

    Examples:
        >>> number_labels(["dog", "cat", None])
        ([1, 0, -1], ('cat', 'dog'))
        >>> number_labels([0, 1, 2], ["0", "10", "2"])
        ([0, 2, 1], ('0', '2', '10'))
    """
    missing = [v is None or v == "" or (isinstance(v, float) and math.isnan(v)) for v in values]
    if names is not None:
        ordered = sorted(names, key=_order) if all(_order(n)[0] == 0 for n in names) else [*names]
        place = {number: ordered.index(name) for number, name in enumerate(names)}
        pairs = zip(values, missing, strict=True)
        return [-1 if lost else place.get(value, -1) for value, lost in pairs], tuple(ordered)
    known = [value for value, lost in zip(values, missing, strict=True) if not lost]
    if known and all(isinstance(value, str) for value in known):
        ordered = sorted(set(known), key=_order)
        index = {name: number for number, name in enumerate(ordered)}
        pairs = zip(values, missing, strict=True)
        return [-1 if lost else index[value] for value, lost in pairs], tuple(ordered)
    numbers = []
    for row, (value, lost) in enumerate(zip(values, missing, strict=True)):
        if lost:
            numbers.append(-1)
        elif isinstance(value, (int, float)) and float(value).is_integer():
            numbers.append(int(value))
        else:
            raise ValueError(
                f"the label of row {row} is {value!r}; labels are whole numbers or names"
            )
    return numbers, ()


def parse_labels(text: str, classes: int, names: Sequence[str] = ()) -> list[int]:
    """Numbers of the classes in ``text``: "all", or numbers and names with commas between.

    Raises:
        ValueError: If there are no classes, or one is not known.

    Examples:
        >>> parse_labels("cat,0", 2, ["dog", "cat"])
        [1, 0]
    """
    if not classes:
        raise ValueError("this network was trained without classes; leave --labels out")
    if text == "all":
        return list(range(classes))
    chosen = []
    for word in (word.strip() for word in text.split(",")):
        if word in names:
            chosen.append(list(names).index(word))
        elif word.isdigit() and int(word) < classes:
            chosen.append(int(word))
        else:
            called = f" or names ({', '.join(names)})" if names else ""
            raise ValueError(
                f"labels are all, or some of 0 to {classes - 1} as in 0,1{called}; got {text!r}"
            )
    return chosen
