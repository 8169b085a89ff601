"""Pictures of a search for tickets: marks stand where their figures are, the winner is ringed, colours go by epoch."""

import re
from xml.etree import ElementTree

import pytest

from prunelle.report import lines
from prunelle.report.axes import Axis
from prunelle.report.frame import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, across, upward
from prunelle.report.groups import Spread
from prunelle.report.lines import Line, Spot, drawn, mark, ramp
from prunelle.report.tickets_barrier import barrier_picture, barrier_table, barriers
from prunelle.report.tickets_picture import (
    Scene,
    control_lines,
    controls_picture,
    kept_axis,
    score_axis,
    ticket_lines,
    tickets_alone,
    tickets_picture,
)

from .ticket_rows import ROWS, report, three


def test_shares_fall_to_the_right_from_all_weights():
    axis = kept_axis([0.5, 0.04])
    assert axis.high == 100.0 and across(axis, 100.0) == LEFT and across(axis, 10) < across(axis, 5) < WIDTH - RIGHT
    assert kept_axis([0.04, 0.01]).high == 8.0, "no room is left for shares that nobody kept"


def test_the_axis_of_accuracy_holds_the_winner_and_its_controls():
    y = score_axis(report().scene)
    assert y.low < 97.0 and y.high > 98.35
    lost = report([*ROWS, *three("random", 0.01, 100, 0.1, 0.1, 0.1), *three("ticket", 0.01, 100, 0.2, 0.2, 0.2)])
    assert score_axis(lost.scene).low > 90, "members that lost everything do not squeeze the others"


def test_a_line_a_rewinding_point_with_its_band():
    found = ticket_lines(report().scene)
    assert list(found) == [0, 100] and [spot.x for spot in found[100].spots] == [50.0, 4.0]
    last = found[100].spots[-1]
    assert (last.value, last.low, last.high) == pytest.approx((98.05, 98.05, 98.35))
    assert (
        last.told
        == "ticket, epoch 0.5, 4 % kept\n98.05 % (98.05 to 98.35) (3 seeds)\nchange against dense +0.05 ± 0.25 points"
    )


def test_controls_of_a_point_and_fresh_weights_at_every_point():
    scene = report().scene
    assert list(control_lines(scene, 100)) == ["ticket", "random", "reinit"]
    assert list(control_lines(scene, 0)) == ["ticket", "reinit"]
    assert control_lines(scene, 0)["reinit"] == control_lines(scene, 100)["reinit"]
    assert all(line.dash for name, line in control_lines(scene, 100).items() if name != "ticket")


def test_the_winner_is_ringed_where_it_stands():
    scene = tickets_alone(report().scene)
    x, y = kept_axis([0.5, 0.04]), score_axis(scene)
    ring = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="9.5"', tickets_picture(scene))
    assert [float(v) for v in ring.groups()] == pytest.approx([across(x, 4.0), upward(y, 98.05)], abs=0.06)
    assert "winner, 4 %" in tickets_picture(scene) and "dense 98.10 %" in tickets_picture(scene)
    assert controls_picture(report().scene).count('r="9.5"') == 1, "at its own rewinding point only"


def test_without_a_winner_there_is_no_ring():
    assert 'r="9.5"' not in tickets_picture(tickets_alone(report(winner=None).scene))


def test_pictures_are_well_formed():
    scene = report().scene
    for picture in (tickets_picture(tickets_alone(scene)), controls_picture(scene)):
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img" and "figures stand in the tables" in root.get("aria-label")
    groups = re.findall(r'class="([^"]+)"', controls_picture(scene))
    assert {"at at0", "at at1", "v-ticket", "v-random", "v-reinit"} <= set(groups)


def test_no_band_without_a_range():
    x, y = Axis(1, 100, log=True, falling=True), Axis(90, 100)
    one, wide = Line([Spot(50, 95, 95, 95)], "#000"), Line([Spot(50, 95, 94, 96), Spot(5, 94, 94, 94)], "#000")
    assert "fill-opacity" not in drawn(one, x, y) and drawn(wide, x, y).count('fill-opacity="0.13"') == 1


def test_a_mark_below_the_axis_points_down_at_the_foot():
    x, y = Axis(1, 100, log=True, falling=True), Axis(90, 100)
    below = drawn(Line([Spot(10, 20, 20, 20, "<b>")], "#000"), x, y)
    assert f'"{lines.foot(across(x, 10))}"' in below and f" {HEIGHT - BOTTOM - 9}h10" in below
    assert "<title>&lt;b&gt;</title>" in below


def test_every_shape_stands_round_its_place():
    assert len({mark(shape, 10, 10) for shape in range(5)}) == 5 and mark(5, 1, 1) == mark(0, 1, 1)


def test_colours_go_from_early_to_late():
    assert ramp(1) == [lines.RAMP[1]] and ramp(6) == list(lines.RAMP)
    assert len(set(ramp(20))) == 20
    scene = Scene(report().points, report().dense, None, {n: n / 10 for n in range(10)})
    assert all(line.faint for line in ticket_lines(scene).values()), "more than a few are drawn faintly"


def test_barriers_are_medians_over_seeds():
    rows = [
        one | {"barrier": value} for one, value in zip(three("twin", 0.5, 0, 1, 1, 1), (0.01, 0.03, None), strict=True)
    ]
    late, early = barriers([*ROWS, *rows])[::-1]
    assert (late.rewind, late.kept, late.value) == (100, 0.04, Spread(0.02, 0.02, 0.02, 3))
    assert (early.rewind, early.kept, early.value) == (0, 0.5, Spread(0.02, 0.01, 0.03, 2))
    picture = barrier_picture([early, late], {0: 0.0, 100: 0.5})
    ElementTree.fromstring(picture)
    assert "initialisation, 50 % kept: 2.00, 1.00 to 3.00 points" in picture
    table = barrier_table([early, late], {0: 0.0, 100: 0.5})
    assert table.count("2.00") == 2 and table.count("–") == 2
    assert barriers(three("ticket", 0.5, 0, 1, 1, 1)) == []
