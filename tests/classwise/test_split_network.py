"""classwise/call.py, split.py, whole.py, table.py, speed.py: a module and a task in, its members out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SHAPE, conv_net, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.classwise import call, joining, split
from prunelle.classwise.call import Divided, divide
from prunelle.classwise.cutting import Cutting
from prunelle.classwise.member import Making
from prunelle.classwise.speed import Contest, alone, race, threaded
from prunelle.classwise.split import together
from prunelle.classwise.table import layer_rows
from prunelle.classwise.whole import Whole, cuts_of_members, joined
from prunelle.data.loaders import from_loaders
from prunelle.data.task import Task
from prunelle.engines.engine import Watch
from prunelle.errors import MeasurementError, ModelError, RunConflictError, SettingError, WorkError
from prunelle.graph.cuts import Cut, Cuts
from prunelle.measure.params import count_params
from prunelle.models.load import build
from prunelle.models.members import Calibration, Members
from prunelle.models.save import Builder, load, save
from prunelle.prune.latency_target import Target
from prunelle.train.optimizers import Adam
from prunelle.train.settings import EarlyStop, TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")
GROUPS = ((0, 2), (1,))
QUICK = TrainSettings(2, 1e-2, batch_size=16, optimizer=Adam())
MAKING = Making(Cutting(0.8, None, floor=2), QUICK, distill=0.5)


class Here:
    """Jobs in this process."""

    def __init__(self, shared: Any):
        self.shared = shared

    def run(self, function: Any, jobs: Any, watch: Watch = lambda: None) -> list:
        watch()
        return [function(job, self.shared) for job in jobs]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def engine(workers: int, shared: Any) -> Iterator[Here]:
        assert workers >= 1
        yield Here(shared)

    monkeypatch.setattr(call, "workers_of", engine)


def divided(out: Path, task: Task | None = None, **changed: Any) -> Divided:
    return divide(conv_net(), task or small_task(), out=out, **{"groups": GROUPS, "making": MAKING} | changed)


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    model, task = conv_net(), small_task()
    before = state_of(model)
    shares = []
    found = divide(
        model, task, out=tmp_path / "o", groups=GROUPS, making=MAKING, watch=lambda what, share: shares.append(share)
    )
    assert same_bits(state_of(model), before) and model.training and shares[0] == 0.0 == min(shares)
    assert isinstance(found.members, Members) and found.members.groups == GROUPS
    assert found.similarity.shape == (3, 3) and found.found.trial.grouping == "given"
    images, targets = next(iter(task.test.epoch(24)))
    with torch.no_grad():
        outputs = [member(images) for member in found.members.members]
        answers = found.members(images).argmax(1)
    assert [tuple(each.shape) for each in outputs] == [(24, 3), (24, 1)]
    assert found.found.top1 == (answers == targets).double().mean().item()
    assert found.found.num_test == 24 and found.found.top1_low <= found.found.top1 <= found.found.top1_high
    for one, member in zip(found.found.members, found.members.members, strict=True):
        assert count_params(member).params < count_params(model).params and one.epochs == 2
        assert 0 <= one.test_top1 <= 1 and len(one.history) == 2
    # Half of the own class's right answers and half of the others'.
    own = targets == 1
    right = (outputs[1][:, 0] > 0) == own
    wanted = (right[own].double().mean() + right[~own].double().mean()) / 2
    assert found.found.members[1].test_top1 == pytest.approx(wanted.item(), abs=1e-6)


def test_augmented_images_are_asked_about_once_for_all_members_of_all_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = split.asked

    def counting(whole: nn.Module, shown: Any, *rest: Any) -> torch.Tensor:
        asked.append(len(shown))
        return ask(whole, shown, *rest)

    monkeypatch.setattr(split, "asked", counting)
    task = small_task(augmented=True)
    found = divided(tmp_path / "o", task)
    again = divided(tmp_path / "o", task)
    assert asked == [2 * len(task.train)]  # two epochs: no more than two views
    assert same_bits(state_of(found.members), state_of(again.members))
    live = divided(tmp_path / "live", task, making=replace(MAKING, views=0))
    assert len(asked) == 1 and not same_bits(state_of(found.members), state_of(live.members))


def test_killed_between_members_it_goes_on_with_the_same_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, make, made = small_task(augmented=True), split.make_member, []
    whole = divided(tmp_path / "whole", task)

    def once(job: Any, shop: Any) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(job)
        make(job, shop)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(split, "make_member", once)
        divided(tmp_path / "o", task)
    assert same_bits(state_of(divided(tmp_path / "o", task).members), state_of(whole.members))


def test_members_are_cut_to_a_time_before_any_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    prepare, make = split.prepare, split.make_member
    monkeypatch.setattr(split, "prepare", lambda job, shop: (order.append("cut"), prepare(job, shop)))
    monkeypatch.setattr(split, "make_member", lambda job, shop: (order.append("train"), make(job, shop)))
    cutting = Cutting(None, floor=2, latency=Target(ms=1000.0))
    found = divided(tmp_path / "o", making=replace(MAKING, cutting=cutting))
    assert order == ["cut", "cut", "train", "train"]
    # A second is more than it takes: nothing goes but other classes' rows.
    assert count_params(found.members.members[0]).params == count_params(conv_net()).params


def test_out_is_opened_again_with_members_of_ones_own(tmp_path: Path) -> None:
    found = divided(tmp_path / "o")
    dense = [seeded(conv_net, 5) for _ in GROUPS]
    for member, outputs in zip(dense, (3, 1), strict=True):
        member[8] = nn.Linear(32, outputs)
    back = load(tmp_path / "o", Members(dense, GROUPS))
    assert same_bits(state_of(back), state_of(found.members))


def test_a_second_call_makes_nothing_and_another_folder_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = divided(tmp_path / "o"), divided(tmp_path / "p")
    assert same_bits(state_of(first.members), state_of(other.members))
    made = []
    monkeypatch.setattr(split, "make_member", lambda job, shop: made.append(job))
    again = divided(tmp_path / "o")
    assert not made and same_bits(state_of(again.members), state_of(first.members))
    assert again.found.top1 == first.found.top1
    with pytest.raises(RunConflictError, match=r"was begun with another network or other data; choose another folder"):
        divided(tmp_path / "o", small_task(seed=1))


def test_data_that_only_comes_by(tmp_path: Path) -> None:
    """Batches of a loader of one's own, several epochs of them."""
    task = small_task()
    train, val, test = (list(part.epoch(10)) for part in (task.train, task.val, task.test))
    own = from_loaders(train, val, test, input_shape=SHAPE, num_classes=3)
    making = replace(MAKING, training=replace(QUICK, epochs=3))
    found = divided(tmp_path / "o", own, making=making)
    assert [one.epochs for one in found.found.members] == [3, 3]


def test_uncut_and_untrained_members_say_of_their_own_classes_what_the_network_says(tmp_path: Path) -> None:
    task, model = small_task(), conv_net()
    found = divide(model, task, out=tmp_path / "o", groups=GROUPS, making=Making(Cutting(1.0, None), None))
    images, _ = next(iter(task.test.epoch(24)))
    with torch.no_grad():
        assert torch.allclose(found.members.members[0](images)[:, 1:], model.eval()(images)[:, [0, 2]], atol=1e-6)
    sizes = [count_params(member).params for member in found.members.members]
    assert sizes == [count_params(model).params, count_params(model).params - 2 * 33]
    assert all((one.epochs, one.history) == (0, ()) for one in found.found.members)


def test_members_that_leave_early(tmp_path: Path) -> None:
    """One epoch after their best: hardly anything is learnt, so that does not take long."""
    making = replace(MAKING, training=replace(QUICK, epochs=9, lr=1e-12, early_stop=EarlyStop(1)))
    for one in divided(tmp_path / "o", making=making).found.members:
        assert one.epochs == len(one.history) == one.history.index(max(one.history)) + 2
        assert one.epochs_saved == 9 - one.epochs > 0


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^--groups 4: must be 2 to 3, the number of classes"):
        divided(tmp_path / "o", groups=4)
    with pytest.raises(SettingError, match=r"^groups: 2 classes are named, small has 3; name each once\.$"):
        divided(tmp_path / "o", groups=((0,), (1,)))
    with pytest.raises(ModelError, match="must hold each class from 0 on once"):
        divided(tmp_path / "o", groups=((0, 1), (1, 2)))
    assert not (tmp_path / "o").exists()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "letter").write_text("dear")
    with pytest.raises(
        RunConflictError, match=r"is not empty and holds no classwise\.json; choose another folder for out"
    ):
        divided(tmp_path / "s")


def test_what_members_were_calibrated_by_is_saved_with_them(tmp_path: Path) -> None:
    found = divided(tmp_path / "o")
    opened = found.members  # as load gave it
    told = [(one.temperature, one.bias) for one in found.found.members]
    assert list(zip(opened.temperatures.tolist(), opened.biases.tolist(), strict=True)) == told
    assert all(bias != 0 for _, bias in told)


def test_what_was_saved_must_answer_as_its_members_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(*given: Any) -> Members:
        module = joined(*given)
        with torch.no_grad():
            module.members[0][8].bias[1] += 5
        return module

    monkeypatch.setattr(joining, "joined", spoiled)
    with pytest.raises(MeasurementError, match=r"what was saved answers otherwise than its members did \(by "):
        divided(tmp_path / "o")


def test_one_member_of_all_classes_answers_alone() -> None:
    outputs = torch.tensor([[1.0, 3.0, 2.0]])
    assert together([outputs], Calibration.none(1), ((0, 1, 2),)) is outputs


LENET = Builder(spec="lenet5_small", input_shape=[1, 12, 12], num_classes=3)


def test_builders_of_members(tmp_path: Path) -> None:
    save(LENET.make(), tmp_path / "w", builder=LENET)
    whole = Whole(tmp_path / "w", LENET, Cuts())
    images = torch.zeros(1, 1, 12, 12)
    for group, outputs in (((0, 2), 3), ((1,), 1), ((0, 1, 2), 3)):
        builder = whole.builder_of_member(group)
        assert builder is not None and builder.make()(images).shape == (1, outputs)
    assert whole.builder_of_member((0, 1, 2)) == LENET
    both = whole.builder_of_members(GROUPS)
    assert both is not None and both.spec == "classwise:0,2/1:lenet5_small" and both.make()(images).shape == (1, 3)
    assert same_bits(state_of(whole.open()), state_of(load(tmp_path / "w"))) and whole.open() is not whole.open()
    own = Whole(tmp_path / "w", None, Cuts(), nn.Linear(2, 3))
    assert own.builder_of_member((0,)) is own.builder_of_members(GROUPS) is None
    assert own.open() is not own.module and not own.open().training


def test_cuts_of_a_network_that_was_cut_before() -> None:
    """Member 0 was cut twice, member 1 as the network was."""
    before = Cuts(tensors=[Cut(tensor="w", axis=0, kept=[0, 1, 3])])
    whole = Whole(Path("w"), None, before)
    found = cuts_of_members(whole, [Cuts(tensors=[Cut(tensor="w", axis=0, kept=[2])]), Cuts()])
    assert [(cut.tensor, cut.kept) for cut in found.tensors] == [
        ("members.0.w", [0, 1, 3]),
        ("members.0.w", [2]),
        ("members.1.w", [0, 1, 3]),
    ]


def test_a_table_of_layers_by_hand() -> None:
    whole = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    member = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    rows = layer_rows([member, whole], [["b"], ["a", "c"]], whole, (1, 4, 4))
    assert rows[0] == {
        "member": 0,
        "classes": "b",
        "layer": "0",
        "channels": 2,
        "channels_dense": 4,
        "params": 20,
        "params_dense": 40,
        "macs": 2 * 9 * 4,
        "macs_dense": 4 * 9 * 4,
    }
    assert (rows[1]["layer"], rows[1]["macs"], rows[1]["macs_dense"], rows[1]["channels"]) == ("3", 8, 48, 1)
    assert rows[2]["channels"] == rows[2]["channels_dense"] == 4 and rows[2]["classes"] == "a c" and len(rows) == 4


def nets() -> Members:
    return Members(
        [build("lenet5_small", input_shape=(1, 12, 12), num_classes=outputs) for outputs in (3, 1)], GROUPS
    ).eval()


def test_all_ways_are_timed_in_turns() -> None:
    whole = LENET.make().eval()
    contest = Contest(whole, nets(), LENET.make().eval(), torch.rand(4, 1, 12, 12), tuple(torch.rand(3, 1, 1, 12, 12)))
    rows = race(contest, "eager", 0.01, 3)
    assert [row["what"] for row in rows] == [
        "whole, 1 thread",
        "members side by side",
        "members one after another",
        "cut as one network, 1 thread",
    ]
    assert all(0 < row["ms"] <= row["p95_ms"] and row["runtime"] == "eager" for row in rows)
    assert rows[0]["ratio"] is None and all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows[1:])


def test_the_images_that_are_timed_take_turns() -> None:
    seen: list[float] = []

    class Looks(nn.Module):
        def forward(self, images):
            seen.append(float(images.mean()))
            return torch.zeros(1, 6)

    timed = tuple(torch.full((1, 1, 12, 12), float(number)) for number in range(3))
    contest = Contest(LENET.make().eval(), nets(), Looks(), torch.rand(2, 1, 12, 12), timed)
    race(contest, "eager", 0.05, 30)
    assert set(seen) == {0.0, 1.0, 2.0}


def test_each_member_is_timed_alone_too() -> None:
    members = nets()
    contest = Contest(LENET.make().eval(), members, None, torch.rand(2, 1, 12, 12), (torch.rand(1, 1, 12, 12),))
    found = alone(contest, "eager", 0.01, 3)
    assert len(found) == len(members.members) and all(ms > 0 for ms in found)


class Refuses(nn.Module):
    def forward(self, images):
        raise RuntimeError("not here\nat all")


def test_a_network_that_does_not_run_is_named() -> None:
    contest = Contest(LENET.make().eval(), nets(), Refuses(), torch.rand(2, 1, 12, 12), (torch.rand(1, 1, 12, 12),))
    with pytest.raises(WorkError, match=r"^eager: cut as one network, 1 thread does not run \(not here\)\.$"):
        race(contest, "eager", 0.01, 1)


def test_pytorch_has_the_threads_that_are_told_and_only_while_it_is_called() -> None:
    """The timer holds one thread, which the whole network must not be timed with under the name of two."""
    torch.set_num_threads(1)
    seen: list[int] = []

    def run(images: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return images

    for runtime, threads in (("eager", 2), ("eager", 1), ("native", 2)):
        threaded(run, runtime, threads)(torch.zeros(1))
        assert torch.get_num_threads() == 1
    assert seen == [2, 1, 1]
