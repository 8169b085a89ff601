import pytest
import torch
from torch import nn

from prunelle.errors import ModelError
from prunelle.measure.params import count_params


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))


def test_counts_by_hand():
    model = small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        model[0].weight[0] = 0  # 9 of 18
        model[3].weight[0] = 0  # 8 of 32
        model[3].bias.zero_()  # 4 of 4
    count = count_params(model)
    assert count.params == 18 + 2 + 2 + 2 + 32 + 4
    assert count.nnz == count.params - 9 - 8 - 4
    assert count.sparsity == pytest.approx(21 / 60)
    assert (count.prunable, count.prunable_nnz) == (50, 33)
    assert count.prunable_sparsity == pytest.approx(17 / 50)
    rows = {row.name: row for row in count.rows}
    assert list(rows) == [name for name, _ in model.named_parameters()]
    assert rows["0.weight"].shape == (2, 1, 3, 3) and rows["0.weight"].sparsity == 0.5
    assert [name for name, row in rows.items() if row.prunable] == ["0.weight", "3.weight"]


def test_nothing_is_zero_in_a_model_of_ones():
    model = nn.Linear(3, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    count = count_params(model)
    assert (count.params, count.nnz, count.sparsity, count.prunable_sparsity) == (8, 8, 0.0, 0.0)


def test_a_model_without_parameters():
    count = count_params(nn.ReLU())
    assert (count.params, count.nnz, count.sparsity, count.prunable_sparsity, count.rows) == (0, 0, 0.0, 0.0, ())


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert count_params(model).params == 9 + 3 + 3
    model[1] = model[0]
    assert count_params(model).params == 9 + 3


def test_embeddings_and_norms_are_not_prunable_but_recurrent_and_attention_weights_are():
    def names(module):
        return [row.name for row in count_params(module).rows if row.prunable]

    assert names(nn.Embedding(3, 4)) == []
    assert names(nn.LayerNorm((2, 3))) == []
    assert names(nn.LSTM(2, 3)) == ["weight_ih_l0", "weight_hh_l0"]
    assert names(nn.MultiheadAttention(4, 2, add_bias_kv=True)) == ["in_proj_weight", "out_proj.weight"]


def test_an_embedding_tied_to_a_linear_layer_is_prunable():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    model[1].weight = model[0].weight
    assert [row.prunable for row in count_params(model).rows] == [True]


def test_a_lazy_layer_is_refused():
    with pytest.raises(ModelError, match=r"^weight: has no shape yet, as the layer is lazy; run one batch"):
        count_params(nn.LazyLinear(3))


def test_agrees_with_a_plain_loop():
    model = nn.TransformerEncoderLayer(8, 2, 16)
    count = count_params(model)
    assert count.params == sum(p.numel() for p in model.parameters())
    assert count.nnz == sum(int((p != 0).sum()) for p in model.parameters())
