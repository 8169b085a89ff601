"""train/settings.py and train/precision.py."""

import math

import pytest
import torch

from prunelle.errors import SettingError
from prunelle.schedules import constant, cosine
from prunelle.train.precision import BF16, FP16, FP32, GROW_AFTER, Precision, Scale
from prunelle.train.settings import EarlyStop, TrainSettings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "training: epochs is 0, must be at least 1."),
        ({"lr": 0.0}, "training: lr is 0.0, must be above 0."),
        ({"lr": math.nan}, "training: lr is nan, must be above 0."),
        ({"lr": math.inf}, "training: lr is inf, must be above 0."),
        ({"batch_size": 0}, "training: batch_size is 0, must be at least 1."),
        ({"label_smoothing": 1.0}, r"training: label_smoothing is 1.0, must be in \[0, 1\)."),
        ({"warmup_epochs": 3.5}, "training: warmup_epochs is 3.5, must be between 0 and epochs."),
        ({"best_from": 1.5}, r"training: best_from is 1.5, must be in \[0, 1\]."),
        ({"average_epochs": -0.5}, "training: average_epochs is -0.5, must be at least 0."),
        ({"average_epochs": math.inf}, "training: average_epochs is inf, must be at least 0."),
        ({"checkpoint_steps": 0}, "training: checkpoint_steps is 0, must be at least 1."),
        ({"early_stop": EarlyStop(patience=0)}, "training: patience is 0, must be at least 1."),
    ],
)
def test_what_cannot_work_is_refused(changed, message):
    with pytest.raises(SettingError, match=message):
        TrainSettings(**({"epochs": 3, "lr": 0.1} | changed))


def test_learning_rates_by_hand():
    settings = TrainSettings(epochs=2, lr=0.8, schedule=constant, warmup_epochs=0.5)
    # 8 updates an epoch: 4 of warm-up
    assert [settings.lr_at(step, 8) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    settings = TrainSettings(epochs=2, lr=1.0, schedule=cosine)
    assert [settings.lr_at(step, 2) for step in range(4)] == pytest.approx(
        [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    )


def test_fp16_is_refused_on_a_cpu_and_the_others_are_not():
    with pytest.raises(SettingError, match="fp16 needs a CUDA device and this is cpu; use bf16 or fp32"):
        FP16.check(torch.device("cpu"))
    FP32.check(torch.device("cpu"))
    BF16.check(torch.device("cpu"))


def test_autocast_sets_the_type_of_products_only():
    layer = torch.nn.Linear(2, 2)
    with FP32.autocast(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    with BF16.autocast(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
    assert Precision() == FP32


def test_the_scale_halves_at_an_overflow_and_doubles_after_a_quiet_time():
    scale = Scale(1024.0)
    scale.report_(False)
    assert (scale.value, scale.good_steps) == (512.0, 0)
    for _ in range(GROW_AFTER - 1):
        scale.report_(True)
    assert scale.value == 512.0
    scale.report_(True)
    assert (scale.value, scale.good_steps) == (1024.0, 0)
