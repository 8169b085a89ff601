import pytest

from prunelle.errors import SettingError
from prunelle.tickets.retire import NEVER, Retirement, audited, epochs_without_gain, verdict

PATIENT = Retirement(patience=2)
STRICT = Retirement(gap=0.1)


@pytest.mark.parametrize(
    ("history", "rule", "wanted"),
    [
        ([0.5, 0.6, 0.6, 0.6], PATIENT, "converged"),
        ([0.5, 0.6, 0.6], PATIENT, None),  # one epoch without a gain, of two
        ([0.5, 0.6, 0.6, 0.61], PATIENT, None),
        ([0.5, 0.6, 0.605, 0.609], Retirement(patience=2, min_gain=0.01), "converged"),  # gains below a point
        ([0.5, 0.6, 0.605, 0.611], Retirement(patience=2, min_gain=0.01), None),  # 1.1 points over the best that counts
        ([0.7, 0.7, 0.7], Retirement(patience=2, grace=4), None),
        # .21 + .01 an epoch for 7 epochs = .28 < .95 - .1
        ([0.1, 0.2, 0.21], STRICT, "hopeless"),
        # .3 + .1 * 7 = 1.0 >= .85
        ([0.1, 0.2, 0.3], STRICT, None),
        # .3 + .05 * .1 * 7 = .335
        ([0.1, 0.2, 0.3], Retirement(gap=0.1, reach=0.05), "hopeless"),
        ([0.9, 0.86], STRICT, None),  # it fell, yet stands within the gap
        ([0.9, 0.84], STRICT, "hopeless"),
        ([0.1], STRICT, None),  # of a single epoch nothing can be told
        ([0.1] * 3, Retirement(patience=1, gap=0.1), "converged"),  # both: it has converged
    ],
)
def test_the_verdict_by_hand(history: list[float], rule: Retirement, wanted: str | None) -> None:
    assert verdict(history, 0.95, 10, rule) == wanted


def test_nobody_leaves_without_a_rule_or_after_the_last_epoch() -> None:
    assert verdict([0.1] * 9, 0.95, 10, NEVER) is None
    assert verdict([0.1] * 10, 0.95, 10, Retirement(patience=1, gap=0.1)) is None


def test_epochs_without_gain() -> None:
    assert [epochs_without_gain(h, 0.0) for h in ([0.5], [0.5, 0.5], [0.5, 0.6], [0.6, 0.5, 0.55, 0.6])] == [0, 1, 0, 3]


def test_so_many_are_audited_the_same_ones_every_time() -> None:
    rule = Retirement(patience=1, audit=0.25)
    found = [audited(0, str(number), rule) for number in range(400)]
    assert found == [audited(0, str(number), rule) for number in range(400)]
    assert 70 < sum(found) < 130  # 100, standard deviation 8.7
    assert not any(audited(0, str(number), NEVER) for number in range(50))
    assert all(audited(0, str(number), Retirement(audit=1.0)) for number in range(50))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"patience": 0}, "retirement: patience is 0, must be at least 1."),
        ({"gap": 0.0}, "retirement: gap is 0.0, must be above 0 and at most 1."),
        ({"grace": 0}, "retirement: grace is 0, must be at least 1."),
        ({"audit": 1.5}, r"retirement: audit is 1.5, must be in \[0, 1\]."),
    ],
)
def test_what_is_no_rule(told: dict, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Retirement(**told)
