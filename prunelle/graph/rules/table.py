"""Which rule an operator has. Pointwise operators, which torch tags as such, need no line here."""

from __future__ import annotations

from prunelle.graph.rules import attend, contract, conv, index, norm, pieces, pointwise, pool, recurrent, reduce, shape
from prunelle.graph.walk import Rule

SAME = (
    "alias", "clone", "contiguous", "detach", "detach_", "dropout", "dropout_", "feature_dropout", "alpha_dropout",
    "to", "_to_copy", "type_as", "lift_fresh_copy", "lift_fresh", "float", "half", "double", 
)  # fmt: skip
CREATED = (
    "arange", "linspace", "zeros", "ones", "full", "empty", "eye", "scalar_tensor", "new_zeros", "new_ones",
    "new_full", "new_empty", "meshgrid", "tril_indices", "triu_indices", "rand", "randn", "hann_window",
)  # fmt: skip
POINTWISE = (  # these are, but torch does not tag them so
    "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "hardtanh", "hardtanh_", "relu6", "relu6_", "selu",
    "selu_", "celu", "celu_", "elu_", "leaky_relu_", "silu_", "mish_", "softplus", "where", "pow", "add", "add_", "sub",
    "sub_", "mul", "mul_", "div", "div_", "relu_", "log_sigmoid", "rsub", "softshrink", "hardshrink", "softsign",
    "tanhshrink", "threshold", "clamp", "square", "true_divide", "multiply", "subtract",
)  # fmt: skip
RESHAPES = ("reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze", "reshape_as", "view_as")
UPSAMPLES = (
    "upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d", "upsample_nearest1d", "upsample_linear1d",
    "upsample_trilinear3d", "upsample_nearest3d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
)  # fmt: skip
REDUCES = (
    "sum", "mean", "amax", "amin", "max.dim", "min.dim", "max.default", "min.default", "median.dim", "var", "std",
    "linalg_vector_norm", "norm", "prod", "logsumexp", "all", "any", "var_mean", "std_mean",
)  # fmt: skip

RULES: dict[str, Rule] = {
    "unknown": pointwise.unknown,
    "pointwise": pointwise.pointwise,
    "prelu": pointwise.prelu,
    "glu": pointwise.glu,
    "copy_": pointwise.copied,
    **dict.fromkeys(SAME, pointwise.same),
    **dict.fromkeys(CREATED, pointwise.created),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "rand_like"), pointwise.like),
    **dict.fromkeys(POINTWISE, pointwise.pointwise),
    "_assert_tensor_metadata": pointwise.nothing,
    "linear": contract.linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), conv.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv.conv_transpose),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), contract.matmul),
    "addmm": contract.addmm,
    "einsum": contract.einsum,
    "scaled_dot_product_attention": attend.attention,
    "embedding": contract.embedding,
    "batch_norm": norm.batch_norm,
    "instance_norm": norm.instance_norm,
    "layer_norm": norm.layer_norm,
    "rms_norm": norm.rms_norm,
    "group_norm": norm.group_norm,
    "_weight_norm": norm.weight_norm,
    "max_pool1d": pool.pool1d,
    "max_pool2d": pool.pool2d,
    "max_pool3d": pool.pool3d,
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_max_pool1d"), pool.pool1d),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), pool.pool2d),
    **dict.fromkeys(("adaptive_avg_pool3d", "adaptive_max_pool3d"), pool.pool3d),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), pool.avg_pool),
    **dict.fromkeys(UPSAMPLES, pool.upsample),
    "grid_sampler": pool.sampled,
    "im2col": pool.im2col,
    "col2im": pool.col2im,
    "pixel_shuffle": pool.pixel_shuffle,
    "pixel_unshuffle": pool.pixel_unshuffle,
    "channel_shuffle": pool.channel_shuffle,
    **dict.fromkeys(RESHAPES, shape.reshape),
    "permute": shape.permute,
    **dict.fromkeys(("transpose", "swapaxes", "t"), shape.transpose),
    "numpy_T": shape.all_reversed,
    **dict.fromkeys(("mT", "adjoint"), shape.reversed_axes),
    "movedim": shape.movedim,
    "unsqueeze": shape.unsqueeze,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), shape.expand),
    **dict.fromkeys(("repeat", "tile"), shape.repeat),
    "repeat_interleave": shape.repeat_interleave,
    **dict.fromkeys(("cat", "concat", "concatenate"), pieces.cat),
    "stack": pieces.stack,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk"), pieces.pieces
    ),
    "unbind": pieces.unbind,
    "select": pieces.select,
    "slice": pieces.sliced,
    "narrow": pieces.narrow,
    **dict.fromkeys(("pad", "constant_pad_nd"), pieces.pad),
    "index": index.index,
    "index_select": index.index_select,
    "roll": index.roll,
    "flip": index.flip,
    "unfold": index.unfold,
    **dict.fromkeys(("cumsum", "cumprod"), index.along),
    **dict.fromkeys(("tril", "triu"), index.triangle),
    **dict.fromkeys(REDUCES, reduce.reduce),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"), reduce.softmax),
    **dict.fromkeys(("argmax", "argmin"), reduce.arg),
    "lstm": recurrent.recurrent,
    "gru": recurrent.recurrent,
    "rnn_tanh": recurrent.recurrent,
    "rnn_relu": recurrent.recurrent,
}
