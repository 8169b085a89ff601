"""Classes in the order of their groups, for every picture of a class-wise network that has classes on its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Order:
    """names: of all classes. groups: the class numbers of each member. members: what each member is called."""

    names: Sequence[str]
    groups: Sequence[Sequence[int]]
    members: Sequence[str]

    @cached_property
    def classes(self) -> list[int]:
        """Every class once, group after group; those of no group last.

        >>> Order("abc", [[2], [0]], "12").classes
        [2, 0, 1]
        """
        found = [one for group in self.groups for one in group]
        return [*found, *sorted(set(range(len(self.names))) - set(found))]

    @cached_property
    def group_of(self) -> dict[int, int]:
        """Class -> the place of its group; a class of no group is not in it."""
        return {one: place for place, group in enumerate(self.groups) for one in group}

    @property
    def ends(self) -> list[int]:
        """Where each group ends among the classes.

        >>> Order("abcd", [[3, 1], [0], [2]], "123").ends
        [2, 3, 4]
        """
        return list(accumulate(len(group) for group in self.groups))

    def same(self, one: int, other: int) -> bool:
        """Whether two classes have one member."""
        return one in self.group_of and self.group_of[one] == self.group_of.get(other)


def shortened(name: object, most: int) -> str:
    """
    >>> shortened("aeroplane", 6), shortened("cat", 6)
    ('aerop…', 'cat')
    """
    words = str(name)
    return words if len(words) <= most else words[: most - 1] + "…"
