"""What each operator costs in multiply-adds: a formula, nothing, or unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten

Formula = Callable[..., int]
"""(*args of the operator, out_val=its result, **kwargs) -> multiply-adds."""


def _matrix_vector(matrix: Tensor, vector: Tensor) -> int:
    return matrix.numel()


def _dot(a: Tensor, b: Tensor) -> int:
    return a.numel()


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Scores and weighted sum. A causal mask saves nothing: the positions it hides are counted."""
    return sdpa_flop_count(query.shape, key.shape, value.shape) // 2


def _recurrent(rows: Tensor, weights: list[Tensor]) -> int:
    """Each row of (time, batch, features) meets every entry of every weight matrix once."""
    return prod(rows.shape[:-1]) * sum(weight.numel() for weight in weights if weight.ndim == 2)


_OWN: Mapping[Any, Formula] = MappingProxyType(
    {
        aten.mv: lambda a, b, **_: _matrix_vector(a, b),
        aten.addmv: lambda _bias, a, b, **_: _matrix_vector(a, b),
        aten.dot: lambda a, b, **_: _dot(a, b),
        aten.vdot: lambda a, b, **_: _dot(a, b),
        aten.addbmm: lambda _bias, a, b, **_: prod(a.shape) * b.shape[-1],
        aten._addmm_activation: lambda _bias, a, b, **_: prod(a.shape) * b.shape[-1],
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: _attention(q, k, v),
        aten._scaled_dot_product_fused_attention_overrideable: lambda q, k, v, *_, **__: _attention(q, k, v),
        aten.mkldnn_rnn_layer: lambda x, w_in, w_hidden, *_, **__: _recurrent(x, [w_in, w_hidden]),
        aten._cudnn_rnn: lambda x, weights, *_, **__: _recurrent(x, weights),
    }
)

OPERANDS: Mapping[Any, tuple[int, ...]] = MappingProxyType(
    {
        aten.convolution: (1,),
        aten._convolution: (1,),
        aten.cudnn_convolution: (1,),
        aten._slow_conv2d_forward: (1,),
        aten.convolution_overrideable: (1,),
        aten.mm: (1, 0),
        aten.addmm: (2, 1),
        aten._addmm_activation: (2, 1),
        aten.bmm: (1, 0),
        aten.baddbmm: (2, 1),
        aten.addbmm: (2, 1),
        aten.mv: (0, 1),
        aten.addmv: (1, 2),
        aten.dot: (1, 0),
        aten.vdot: (1, 0),
        aten.mkldnn_rnn_layer: (1, 2),
        aten._cudnn_rnn: (1,),
    }
)
"""Where an operator's weight may stand among its arguments. What is not here multiplies activations only."""

SEVERAL_WEIGHTS = frozenset({aten.mkldnn_rnn_layer, aten._cudnn_rnn})
"""Operators that multiply by all of their OPERANDS, not by one of them."""


def formula(packet: Any) -> Formula | None:
    """The formula of an operator (all overloads), in multiply-adds; None where there is none.

    Those of torch.utils.flop_counter count 2 a multiply-add and are halved.
    """
    if packet in _OWN:
        return _OWN[packet]
    flops = flop_registry.get(packet)
    return None if flops is None else lambda *args, **kwargs: flops(*args, **kwargs) // 2


_FREE_NAMES = """
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d
    avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d mkldnn_adaptive_avg_pool2d
    adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d max_unpool2d max_unpool3d

    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    _batch_norm_no_update _batch_norm_with_update native_layer_norm native_group_norm _fused_rms_norm
    _weight_norm_interface

    _softmax _log_softmax _masked_softmax _safe_softmax glu prelu _prelu_kernel rrelu_with_noise log_sigmoid_forward
    hardswish hardswish_ elu_ celu_ selu_ mish_ _thnn_fused_lstm_cell _thnn_fused_gru_cell

    all any amax amin aminmax argmax argmin count_nonzero linalg_vector_norm logsumexp max mean median min nanmedian
    nansum norm prod std std_mean sum var var_mean cumsum cumprod _cummax_helper _cummin_helper logcumsumexp
    sort topk kthvalue mode unique_dim _unique2 unique_consecutive histc bincount searchsorted bucketize

    cat stack split_with_sizes_copy unbind_copy unsafe_split unsafe_split_with_sizes unsafe_chunk _unsafe_view clone
    copy copy_ _to_copy contiguous fill fill_ zero_ lift_fresh lift_fresh_copy repeat repeat_interleave roll flip
    rot90 tril triu tril_ triu_ diag_embed constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle
    native_channel_shuffle upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d

    embedding _embedding_bag _embedding_bag_forward_only index index_select index_put index_put_ _unsafe_index
    _unsafe_index_put _index_put_impl_ index_add index_add_ index_copy index_copy_ index_fill index_fill_ gather
    scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ masked_select masked_scatter
    masked_scatter_ masked_fill_ take put put_ nonzero nonzero_static where select_scatter slice_scatter
    diagonal_scatter as_strided_scatter view_copy expand_copy

    empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full
    new_empty_strided bernoulli bernoulli_ native_dropout uniform_ normal_ exponential_ random_ multinomial

    resize_ resize_as_ set_ equal isin item _local_scalar_dense _assert_async _functional_assert_async
    _assert_tensor_metadata _assert_scalar _fused_sdp_choice _pack_padded_sequence is_same_size sym_size sym_numel
    sym_stride sym_storage_offset
"""
"""Names in aten without multiply-adds in our convention: pooling, norms, softmax, reductions, copies, indexing, random
numbers, checks. Interpolation, resampling and Fourier transforms are not among them, so they are named."""

_FREE = frozenset(_FREE_NAMES.split())
_FREE_TAGS = tuple(
    getattr(torch.Tag, name) for name in ("pointwise", "reduction", "inplace_view") if hasattr(torch.Tag, name)
)


def is_free(operator: Any) -> bool:
    """Whether an operator overload is known to cost nothing: pointwise, a view, a reduction, or named above."""
    if not isinstance(operator, torch._ops.OpOverload):
        return False
    if operator.namespace in ("prim", "prims"):
        return operator.is_view
    if any(tag in operator.tags for tag in _FREE_TAGS) or operator.is_view:
        return True
    return operator.namespace == "aten" and operator._schema.name.removeprefix("aten::") in _FREE
