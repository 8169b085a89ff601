"""Pieces of random networks on tokens (n, t, c): attention in the ways people write it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from choices import Choices, Spelled
from torch import Tensor, nn


class Fused(Spelled):
    """One linear layer for q, k and v, as in timm's vision transformers."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.heads, each = choose.pick("heads", 2, 4), choose.pick("each", 4, 8)
        width = self.heads * each
        self.fix(each=each)
        self.qkv, self.proj = nn.Linear(c, 3 * width, bias=choose.pick("bias", True, False)), nn.Linear(width, c)
        self.how = choose.pick("by", "operator", "explicit", "explicit, literal", "operator, scaled")
        self.scale = each**-0.5
        self.pick_apart = choose.pick("apart", "five axes", "chunk", "five axes, -1", "split")
        self.norms = choose.pick("q and k", "plain", "plain", "normalised", "unit")
        if self.norms == "normalised":
            self.q_norm, self.k_norm = nn.LayerNorm(each), nn.LayerNorm(each)
        self.norm = nn.LayerNorm(c)
        self.gamma = nn.Parameter(torch.ones(c)) if choose.pick("gamma", True, False, False) else None
        self.bias = nn.Parameter(torch.zeros(self.heads, 1, 1)) if choose.pick("offset", True, False, False) else None

    def apart(self, x: Tensor) -> tuple[Tensor, ...]:
        n, t, _ = x.shape
        if self.pick_apart in ("chunk", "split"):
            parts = x.chunk(3, -1) if self.pick_apart == "chunk" else x.split(x.shape[-1] // 3, -1)
            each = self.of("each", parts[0].shape[-1] // self.heads)
            return tuple(one.view(n, t, self.heads, each).transpose(1, 2) for one in parts)
        each = -1 if self.pick_apart == "five axes, -1" else self.of("each", x.shape[-1] // 3 // self.heads)
        return x.reshape(n, t, 3, self.heads, each).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.apart(self.qkv(self.norm(x)))
        if self.norms == "normalised":
            q, k = self.q_norm(q), self.k_norm(k)
        elif self.norms == "unit":
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        if self.how.startswith("operator"):
            scale = self.scale if self.how == "operator, scaled" else None
            y = F.scaled_dot_product_attention(q, k, v, scale=scale)
        else:
            scale = q.shape[-1] ** -0.5 if self.how == "explicit" else self.scale
            scores = (q * scale) @ k.transpose(-2, -1)
            y = (scores if self.bias is None else scores * self.bias).softmax(-1) @ v
        y = self.proj(y.transpose(1, 2).reshape(n, t, -1))
        return x + (y if self.gamma is None else y * self.gamma)


class Separate(Spelled):
    """q, k and v from layers of their own; keys may be fewer than queries, values of another width."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.heads, each, deep = choose.pick("heads", 2, 4), choose.pick("each", 4, 8), choose.pick("deep", 4, 8)
        self.shared = choose.pick("queries a key", 1, 1, 2)
        few = self.heads // self.shared
        self.fix(each=each, deep=deep)
        self.q, self.k = nn.Linear(c, self.heads * each), nn.Linear(c, few * each)
        self.v, self.out = nn.Linear(c, few * deep), nn.Linear(self.heads * deep, c)
        self.how = choose.pick("by", "operator", "einsum", "bmm")
        self.causal = choose.pick("causal", True, False)
        self.cross = choose.pick("cross", True, False)
        self.memory = nn.Parameter(torch.zeros(1, 5, c)) if self.cross else None
        self.norm = nn.LayerNorm(c) if choose.pick("norm", True, False) else nn.Identity()

    def headed(self, x: Tensor, each: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], -1, each).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        y = self.norm(x)
        source = y if self.memory is None else self.memory.expand(n, -1, -1)
        q, k, v = self.q(y), self.k(source), self.v(source)
        each = self.of("each", q.shape[-1] // self.heads)
        deep = self.of("deep", v.shape[-1] // (self.heads // self.shared))
        q, k, v = self.headed(q, each), self.headed(k, each), self.headed(v, deep)
        if self.shared > 1:
            k, v = k.repeat_interleave(self.shared, 1), v.repeat_interleave(self.shared, 1)
        if self.how == "operator":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal and not self.cross)
        elif self.how == "einsum":
            scores = torch.einsum("nhid,nhjd->nhij", q, k) * each**-0.5
            y = torch.einsum("nhij,nhjd->nhid", scores.softmax(-1), v)
        else:
            q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
            y = torch.bmm((torch.bmm(q, k.mT) / each**0.5).softmax(2), v).unflatten(0, (n, self.heads))
        return x + self.out(y.transpose(1, 2).contiguous().view(n, t, self.heads * deep))


class OwnModule(nn.Module):
    """torch's own attention, with or without its weights, over itself or over others."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        more = {"kdim": 12, "vdim": 12} if choose.pick("others", True, False) else {}
        heads, bias = choose.pick("heads", 2, 4), choose.pick("bias", True, False)
        self.attention = nn.MultiheadAttention(c, heads, bias=bias, batch_first=True, **more)
        self.other = nn.Linear(c, 12) if more else nn.Identity()
        self.first = nn.Linear(c, c) if choose.pick("first", True, False) else nn.Identity()
        self.weights, self.residual = choose.pick("weights", True, False), choose.pick("residual", True, False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        other = self.other(x)
        y = self.attention(x, other, other, need_weights=self.weights)[0]
        return x + y if self.residual else y


class Encoder(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            c,
            choose.pick("heads", 2, 4),
            choose.pick("hidden", 16, 32),
            batch_first=True,
            norm_first=choose.pick("norm first", True, False),
            activation=choose.pick("act", "relu", "gelu"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class OverChannels(Spelled):
    """XCiT: channels of a head attend to each other, tokens are summed over."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.heads, each = choose.pick("heads", 2, 4), choose.pick("each", 4, 8)
        self.qkv, self.proj = nn.Linear(c, 3 * self.heads * each), nn.Linear(self.heads * each, c)
        self.temperature = nn.Parameter(torch.ones(self.heads, 1, 1))
        self.fix(each=each)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        qkv = self.qkv(x)
        each = self.of("each", qkv.shape[-1] // 3 // self.heads)
        q, k, v = qkv.reshape(n, t, 3, self.heads, each).permute(2, 0, 3, 4, 1).unbind(0)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        return x + self.proj((scores.softmax(-1) @ v).permute(0, 3, 1, 2).reshape(n, t, -1))


class LinearAttention(Spelled):
    """Without a softmax over tokens: a positive feature map, or a softmax over the features."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.heads, each = choose.pick("heads", 2, 4), choose.pick("each", 4, 8)
        self.qkv, self.proj = nn.Linear(c, 3 * self.heads * each), nn.Linear(self.heads * each, c)
        self.map = choose.pick("map", "relu", "elu + 1", "softmax", "softmax of keys")
        self.fix(each=each)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, -1)
        each = self.of("each", q.shape[-1] // self.heads)
        q, k, v = (one.reshape(n, t, self.heads, each).transpose(1, 2) for one in (q, k, v))
        if self.map == "softmax":
            return x + self.proj((q.softmax(-1) @ (k.softmax(-2).mT @ v)).transpose(1, 2).reshape(n, t, -1))
        if self.map == "softmax of keys":
            return x + self.proj((q @ (k.softmax(-2).mT @ v)).transpose(1, 2).flatten(2))
        q, k = (F.relu(q), F.relu(k)) if self.map == "relu" else (F.elu(q) + 1, F.elu(k) + 1)
        y = (q @ (k.mT @ v)) / (q @ k.sum(2, keepdim=True).mT + 1)
        return x + self.proj(y.transpose(1, 2).reshape(n, t, -1))


class TalkingHeads(Spelled):
    """CaiT: linear layers between the heads, before and after the softmax."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.heads, each = choose.pick("heads", 2, 4), choose.pick("each", 4, 8)
        self.qkv, self.proj = nn.Linear(c, 3 * self.heads * each), nn.Linear(self.heads * each, c)
        self.before, self.after = nn.Linear(self.heads, self.heads), nn.Linear(self.heads, self.heads)
        self.fix(each=each)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        qkv = self.qkv(x)
        each = self.of("each", qkv.shape[-1] // 3 // self.heads)
        q, k, v = qkv.reshape(n, t, 3, self.heads, each).permute(2, 0, 3, 1, 4)
        scores = self.before((q @ k.transpose(-2, -1) * 0.4).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        scores = self.after(scores.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.proj((scores @ v).transpose(1, 2).reshape(n, t, -1))


class ClassToken(Spelled):
    """A learned token comes first, every place gets a learned vector; an attention, and the token leaves again."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        self.token, self.inside = nn.Parameter(torch.zeros(1, 1, c)), Fused(c, choose)
        self.vector, self.table = nn.Parameter(torch.zeros(c)), nn.Parameter(torch.zeros(1, 3, c))
        self.leave = choose.pick("leaves", True, False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x + self.vector], 1)
        x = self.inside(torch.cat([x[:, :3] + self.table, x[:, 3:]], 1))
        return x[:, 1:] * torch.sigmoid(x[:, :1]) if self.leave else x[:, :-1]


KINDS = (Fused, Separate, OwnModule, Encoder, OverChannels, LinearAttention, TalkingHeads, ClassToken)
ATTENTION = {kind.__name__: kind for kind in KINDS}
