"""What a cut that failed teaches about the modules of a network: how to read their sizes, or that these stay."""

from __future__ import annotations

from typing import Any

from prunelle.graph.attributes import BOLDEST, attributes
from prunelle.graph.prove import Proof
from prunelle.graph.sets import Known, Tied
from prunelle.graph.ties import Removed
from prunelle.graph.trace import module_of


def draw(tied: Tied, removed: Removed, proof: Proof, learnt: Known) -> bool:
    """Lessons in `learnt` until something would come out differently. Whether there was one to draw."""
    before = attributes(tied, removed, learnt.level)
    fixed = learnt.num_fixed
    while learn(tied, proof, learnt):
        if learnt.num_fixed > fixed or attributes(tied, removed, learnt.level) != before:
            return True
    return False


def learn(tied: Tied, proof: Proof, learnt: Known) -> bool:
    """Draw a lesson from a cut that failed: about the module to blame, or else about the nearest one inside it or
    around it that is told sizes. Whether there was one to draw."""
    if proof.where is None:
        return False
    free = {module_of(node) for node, value in tied.state.sized if any_free(tied, value)}
    rooted = {module_of(node) for node, *_ in tied.state.roots}
    for path in suspects(proof, free | rooted):
        kind = type(tied.state.modules[path])
        if not proof.raised and path in rooted and kind not in learnt.rescaled:
            learnt.rescaled.add(kind)
            return True
        if path in free and kind not in learnt.stiff:
            learnt.level[kind] = learnt.level.get(kind, 0) + 1
            if learnt.level[kind] > BOLDEST:
                learnt.stiff[kind] = f"{kind.__name__}'s forward holds sizes that no attribute reaches ({proof.why})"
            return True
    for path in suspects(proof, set()):
        kind = type(tied.state.modules[path])
        if kind not in learnt.closed:
            learnt.closed[kind] = f"{kind.__name__}'s forward could not be followed with other sizes ({proof.why})"
            return True
    return False


def suspects(proof: Proof, told_sizes: set[str]) -> list[str]:
    """Paths in the order in which they are to blame: the module itself, then those around it where it failed, those
    inside it first where its values differ."""
    where = proof.where or ""
    inside = sorted(path for path in told_sizes if path.startswith(f"{where}." if where else "") and path != where)
    around = []
    path = where
    while path:
        path = path.rpartition(".")[0]
        around.append(path)
    return [where, *around, *inside] if proof.raised else [where, *inside, *around]


def any_free(tied: Tied, value: Any) -> bool:
    return any(tied.components.units(axis.labels).any() for axis in value.axes)
