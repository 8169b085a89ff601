import json

import pytest
import torch
from tiny import SHAPE, conv_net, mlp, small_task
from torch import nn

from prunelle.errors import ModelError
from prunelle.measure.accuracy import evaluate, wilson
from prunelle.measure.card import CARD_VERSION, Card, count
from prunelle.measure.latency import Timing

TIMING = Timing(1.0, 2.0, 3.0, 1.5, 1.4, 1.6, 1000, 1)


def test_counts_by_hand():
    card = count("mlp", mlp(), SHAPE)
    # 72 inputs, 10 hidden units, 3 outputs
    assert (card.params, card.nnz, card.sparsity) == (72 * 10 + 10 + 10 * 3 + 3, 763, 0.0)
    assert (card.macs, card.macs_nonzero) == (750, 750) and card.uncounted == {}
    assert [(row.layer, row.params, row.macs) for row in card.layers] == [("1", 730, 720), ("3", 33, 30)]


def test_zeros_are_told_and_shapes_stay():
    model = mlp()
    with torch.no_grad():
        model[1].weight[0] = 0.0
        model[3].weight[:, 1] = -0.0
    card = count("mlp", model, SHAPE)
    assert (card.params, card.nnz, card.macs, card.macs_nonzero) == (763, 763 - 75, 750, 750 - 75)
    assert card.sparsity == pytest.approx(75 / 763)
    assert [(row.nnz, row.macs_nonzero) for row in card.layers] == [(658, 648), (30, 27)]


def test_what_was_not_measured_is_null():
    card = count("mlp", mlp(), None)
    values = card.to_json()
    wanted = ("macs", "macs_nonzero", "size_bytes", "top1", "num_test", "latency_ms", "throughput", "peak_memory_bytes")
    assert all(values[name] is None for name in wanted) and values["schema_version"] == CARD_VERSION
    json.dumps(values, allow_nan=False)
    assert {"model", "params", "nnz", "sparsity", "environment", "loss", "val_top1"} < values.keys()


def test_latency_with_and_without_a_baseline():
    card = Card("m", 1, 1, 0.0)
    alone = card.with_timing(TIMING, 4, "eager").latency_ms
    assert (alone.median, alone.p95, alone.p99, alone.num_samples, alone.batch, alone.threads, alone.runtime) == (
        1.0, 2.0, 3.0, 1000, 4, 1, "eager"
    )  # fmt: skip
    assert (alone.ratio, alone.ratio_low, alone.ratio_high, alone.baseline) == (None, None, None, None)
    beside = card.with_timing(TIMING, 4, "eager", "dense").latency_ms
    assert (beside.ratio, beside.ratio_low, beside.ratio_high, beside.baseline) == (1.5, 1.4, 1.6, "dense")
    assert card.latency_ms is None
    names = {"median", "p95", "p99", "ratio_low", "ratio_high", "num_samples", "batch", "threads", "runtime"}
    assert names < card.with_timing(TIMING, 1, "eager").to_json()["latency_ms"].keys()


def test_accuracy_with_its_interval():
    task, model = small_task(), mlp()
    test = evaluate(model, task.test, task.loss, task.metric)
    card = Card("m", 1, 1, 0.0).with_accuracy(test, 0.25)
    assert (card.top1, card.loss, card.num_test, card.val_top1) == (test.top1, test.loss, 24, 0.25)
    assert (card.top1_low, card.top1_high) == wilson(test.top1, 24)


def test_a_loss_that_is_not_finite_is_null():
    task, model = small_task(), mlp()
    for factor in (float("inf"), float("nan")):
        test = evaluate(model, task.test, lambda o, t, factor=factor: o.sum() * factor, task.metric)
        card = Card("m", 1, 1, 0.0).with_accuracy(test)
        assert card.loss is None and card.top1 is not None
        json.dumps(card.to_json(), allow_nan=False)


def test_float64_is_counted_and_a_wrong_image_refused():
    assert count("net", conv_net().double(), SHAPE).macs == count("net", conv_net(), SHAPE).macs
    with pytest.raises(ModelError, match="does not run on"):
        count("net", mlp(), (1, 1, 1))


def test_a_model_without_parameters():
    card = count("flat", nn.Flatten(), SHAPE)
    assert (card.params, card.nnz, card.sparsity, card.macs) == (0, 0, 0.0, 0)
