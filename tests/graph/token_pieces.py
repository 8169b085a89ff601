"""Pieces of random networks on tokens (n, t, c) other than attention: perceptrons, recurrent layers, convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from choices import Choices, Spelled, act
from torch import Tensor, nn


class Perceptron(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        hidden, self.how = choose.width(), choose.pick("residual", "before", "after", "none")
        self.norm = choose.pick("norm", nn.LayerNorm, nn.RMSNorm)(c)
        choose.told["norm"] = type(self.norm).__name__
        self.up, self.act, self.down = nn.Linear(c, hidden), act(1, choose), nn.Linear(hidden, c)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "before":
            return x + self.down(self.act(self.up(self.norm(x))))
        x = self.down(self.act(self.up(x))) + (x if self.how == "after" else 0)
        return self.norm(x)


class Gated(nn.Module):
    """SwiGLU and its like: one layer for both halves, or two."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        hidden, self.fused = choose.width(), choose.pick("fused", True, False)
        self.up = nn.Linear(c, 2 * hidden if self.fused else hidden)
        self.gate = None if self.fused else nn.Linear(c, hidden)
        self.inside = nn.LayerNorm(hidden) if choose.pick("inner norm", True, False, False) else nn.Identity()
        self.act, self.down = act(1, choose), nn.Linear(hidden, c)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.up(x).chunk(2, -1) if self.gate is None else (self.gate(x), self.up(x))
        return x + self.down(self.inside(self.act(gate) * y))


class Recurrent(nn.Module):
    """GRU, LSTM or a plain one; layers, directions, a projection; the sequence or the last states go on."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        kind, hidden = choose.pick("kind", "GRU", "LSTM", "RNN"), choose.pick("hidden", 8, 16)
        both, layers = choose.pick("both ways", True, False), choose.pick("layers", 1, 2)
        projected = {"proj_size": 4} if kind == "LSTM" and choose.pick("projected", True, False, False) else {}
        bias, first = choose.pick("bias", True, False), choose.pick("batch first", True, True, False)
        settings = {"bidirectional": both, "num_layers": layers, "bias": bias, "batch_first": first}
        self.first = nn.Linear(c, c) if choose.pick("first", True, False) else nn.Identity()
        self.layer, self.turned = getattr(nn, kind)(c, hidden, **settings, **projected), not first
        self.taken = choose.pick("taken", "sequence", "sequence", "last", "states")
        self.width = projected.get("proj_size", hidden) * (1 + both)
        self.last = nn.Linear(self.width, choose.width())

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y, states = self.layer(x.transpose(0, 1) if self.turned else x)
        y = y.transpose(0, 1) if self.turned else y
        if self.taken == "states":
            hidden = states[0] if isinstance(states, tuple) else states
            y = hidden.transpose(0, 1)[:, -(2 if self.layer.bidirectional else 1) :].flatten(1)
        elif self.taken == "last":
            y = y[:, -1]
        y = self.last(y)
        return y if y.ndim == 3 else y.unsqueeze(1) + torch.zeros_like(x[..., :1])


class Convolved(nn.Module):
    """1-d convolutions along the tokens, as in speech networks."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width, groups = choose.width(), choose.pick("groups", 1, 2)
        self.norm = nn.LayerNorm(c) if choose.pick("norm", True, False) else nn.Identity()
        self.first = nn.Conv1d(c, 2 * width, 1, groups=groups)
        self.depthwise = nn.Conv1d(width, width, 3, padding=1, groups=choose.pick("inner groups", 1, width))
        self.batch = choose.pick("batch", nn.BatchNorm1d, nn.Identity)(width)
        choose.told["batch"] = type(self.batch).__name__
        self.act, self.last = act(width, choose), nn.Conv1d(width, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(self.first(self.norm(x).transpose(1, 2)), dim=1)
        return x + self.last(self.act(self.batch(self.depthwise(y)))).transpose(1, 2)


class Pairs(Spelled):
    """Turns neighbouring features like rotary positions do, by halves or by pairs."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.q, self.out = nn.Linear(c, c), nn.Linear(c, c)
        self.how = choose.pick("by", "halves", "pairs", "complex")
        self.fix(half=c // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.q(x)
        half = self.of("half", y.shape[-1] // 2)
        angles = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.linspace(0.1, 1, half, dtype=x.dtype)
        cos, sin = angles.cos(), angles.sin()
        if self.how == "halves":
            a, b = y.chunk(2, -1)
            return x + self.out(torch.cat([a * cos - b * sin, b * cos + a * sin], -1))
        if self.how == "pairs":
            a, b = y[..., ::2], y[..., 1::2]
            return x + self.out(torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2))
        a, b = y.unflatten(-1, (half, 2)).unbind(-1)
        return x + self.out(torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2))


class Moved(nn.Module):
    """A shift of part of the features by a token, a difference to the mean, a cumulative mean."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.first, self.last, self.part = nn.Linear(c, c), nn.Linear(c, c), c // 4
        self.how = choose.pick("by", "shift", "centred", "cumulative", "largest", "gathered", "padded")

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.how == "shift":
            y = torch.cat([y[..., : self.part].roll(1, 1), y[..., self.part :]], -1)
        elif self.how == "centred":
            y = y - y.mean(1, keepdim=True)
        elif self.how == "cumulative":
            y = y.cumsum(1) / x.shape[1]
        elif self.how == "largest":
            y = y + y.max(1, keepdim=True).values
        elif self.how == "gathered":
            y = y.gather(1, y.argsort(1)[:, :1]) + y
        else:
            y = F.pad(y, (0, 0, 1, 0))[:, :-1]
        return x + self.last(torch.tanh(y))


class Mixer(nn.Module):
    """A perceptron along the tokens, or a gate computed along them."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.norm, self.gated, hidden = nn.LayerNorm(c), choose.pick("gated", True, False), choose.width()
        self.first = nn.Linear(c, 2 * hidden) if self.gated else nn.Linear(7, hidden)
        self.inner = nn.LayerNorm(hidden) if self.gated else act(1, choose)
        self.along, self.last = nn.Linear(7, 7), nn.Linear(hidden, c if self.gated else 7)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        if not self.gated:
            return x + self.last(self.inner(self.first(y.transpose(1, 2)))).transpose(1, 2)
        a, b = F.gelu(self.first(y)).chunk(2, -1)
        return x + self.last(a * self.along(self.inner(b).transpose(1, 2)).transpose(1, 2))


KINDS = (Perceptron, Gated, Recurrent, Convolved, Pairs, Moved, Mixer)
TOKEN = {kind.__name__: kind for kind in KINDS}
