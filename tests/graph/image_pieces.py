"""Pieces of random networks on images (n, c, h, w): how published ones arrange convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from choices import Choices, Spelled, act, conv, norm, unit
from torch import Tensor, nn


class Plain(nn.Sequential):
    def __init__(self, c: int, choose: Choices) -> None:
        width = choose.width()
        super().__init__(*unit(c, width, choose), *unit(width, choose.width("second"), choose))


class Residual(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.inside = nn.Sequential(*unit(c, width, choose), conv(width, c, choose), norm(c, choose, "last"))
        self.after = act(c, choose, "after")

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x + self.inside(x))


class PreActivation(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.first = nn.Sequential(norm(c, choose), act(c, choose), conv(c, width, choose))
        self.second = nn.Sequential(norm(width, choose, "second"), nn.ReLU(), conv(width, c, choose))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Dense(nn.Module):
    """Each norm sees all that came before, joined."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.parts, growth = nn.ModuleList(), choose.pick("growth", 4, 8)
        for _ in range(choose.pick("layers", 2, 3)):
            self.parts.append(nn.Sequential(norm(c, choose), act(c, choose), conv(c, growth, choose)))
            c += growth
        self.transition = conv(c, choose.width(), choose, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for part in self.parts:
            seen.append(part(torch.cat(seen, 1)))
        return self.transition(torch.cat(seen, 1))


class Branches(nn.Module):
    """Joined branches of other widths, one of them the input or a pooling of it."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.a, self.b = unit(c, choose.width(), choose), unit(c, choose.width("second"), choose)
        self.third = choose.pick("third", "input", "pooled", "none")
        width = c * (self.third != "none") + choose.told["width"] + choose.told["second"]
        self.join = unit(width, choose.width("joined"), choose, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.a(x), self.b(x)]
        if self.third != "none":
            found.append(x if self.third == "input" else F.avg_pool2d(x, 3, 1, 1))
        return self.join(torch.cat(found, 1))


class Grouped(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width, groups = choose.width(), choose.pick("groups", 2, 4)
        self.first, self.grouped = unit(c, width, choose), unit(width, width, choose, groups=groups)
        self.last = unit(width, choose.width("last"), choose, groups=choose.pick("last groups", 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.grouped(self.first(x)))


class Depthwise(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        many = c * choose.pick("multiplier", 1, 1, 2, 3)
        self.depthwise = unit(c, many, choose, 3, groups=c)
        self.pointwise = unit(many, choose.width(), choose, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Shuffle(Spelled):
    """ShuffleNet: grouped, shuffled, grouped again or depthwise."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width, self.parts = choose.width(), choose.pick("groups", 2, 4)
        self.before = unit(c, width, choose, groups=choose.pick("before", 1, self.parts))
        self.after = unit(width, width, choose, groups=choose.pick("after", 1, 2, self.parts, width))
        self.how = choose.pick("by", "view", "reshape -1", "flatten", "operator")
        self.fix(channels=width, each=width // self.parts)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        n, c, h, w = x.shape
        parts, each = self.parts, self.of("each", c // self.parts)
        if self.how == "operator":
            return self.after(F.channel_shuffle(x, parts))
        if self.how == "view":
            x = x.view(n, parts, each, h, w).transpose(1, 2).reshape(n, self.of("channels", c), h, w)
        elif self.how == "reshape -1":
            x = x.reshape(n, parts, -1, h, w).permute(0, 2, 1, 3, 4).contiguous().view(n, -1, h, w)
        else:
            x = x.unflatten(1, (parts, each)).transpose(1, 2).flatten(1, 2)
        return self.after(x)


class ShuffleHalves(Spelled):
    """ShuffleNet v2: one half passes, the other is worked on, both are interleaved."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        half = c // 2
        self.inside = nn.Sequential(*unit(half, half, choose), *unit(half, half, choose, 3, groups=half))
        self.how = choose.pick("halves", "chunk", "slice", "narrow")
        self.fix(half=half)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        half = self.of("half", c // 2)
        if self.how == "chunk":
            a, b = x.chunk(2, 1)
        elif self.how == "slice":
            a, b = x[:, :half], x[:, half:]
        else:
            a, b = x.narrow(1, 0, half), x.narrow(1, half, half)
        return torch.stack([a, self.inside(b)], 2).reshape(n, -1, h, w)


class Split(Spelled):
    """C2f: uneven parts, the last through more layers, all of them joined."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width = choose.width()
        small = choose.pick("small", width // 4, width // 2)
        self.first, self.inside = unit(c, width, choose), unit(width - small, width - small, choose)
        self.join = unit(2 * width - small, choose.width("joined"), choose, 1)
        self.fix(small=small, rest=width - small)
        self.share = width // small

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        small = self.of("small", x.shape[1] // self.share)
        parts = list(x.split([small, self.of("rest", x.shape[1] - small)], 1))
        return self.join(torch.cat([*parts, self.inside(parts[-1])], 1))


class Gate(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.both = conv(c, 2 * width, choose)
        self.how = choose.pick("gate", "tanh", "sigmoid", "plain", "glu", "gelu")
        self.last = unit(width, choose.width("last"), choose)

    def forward(self, x: Tensor) -> Tensor:
        x = self.both(x)
        if self.how == "glu":
            return self.last(F.glu(x, 1))
        a, b = x.chunk(2, dim=1)
        ways = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu, "plain": lambda one: one}
        return self.last(a * ways[self.how](b))


class PaddedShortcut(nn.Module):
    """CIFAR's option A: every other pixel, zeros for the channels that are new."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        more = choose.pick("more", 4, 8)
        self.pad = choose.pick("pad", (0, 0, 0, 0, more, more), (0, 0, 0, 0, 0, 2 * more), (0, 0, 0, 0, 2 * more, 0))
        self.stride = choose.pick("stride", 1, 2)
        self.inside = nn.Sequential(
            *unit(c, c, choose), conv(c, c + 2 * more, choose), norm(c + 2 * more, choose, "last")
        )
        self.after = unit(c + 2 * more, choose.width(), choose)

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride
        x = F.relu(self.inside(x)[:, :, ::step, ::step] + F.pad(x[:, :, ::step, ::step], self.pad))
        return F.interpolate(self.after(x), scale_factor=step)


class Unshuffled(nn.Module):
    """Pixels become channels or channels pixels."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.up, width = choose.pick("up", True, False), choose.width()
        self.first = unit(c, 32 if self.up else 8, choose)
        self.last = unit(8 if self.up else 32, width, choose)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            return self.last(F.max_pool2d(F.pixel_shuffle(self.first(x), 2), 2))
        return F.interpolate(self.last(F.pixel_unshuffle(self.first(x), 2)), scale_factor=2)


class Tied(nn.Module):
    """One convolution used twice, or two that share their weight."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.a = nn.Conv2d(c, c, 3, padding=1, bias=choose.pick("bias", True, False))
        self.how = choose.pick("tied", "module", "weight", "norm too")
        self.b = nn.Conv2d(c, c, 3, padding=1) if self.how == "weight" else self.a
        if self.how == "weight":
            self.b.weight = self.a.weight
        self.first = norm(c, choose)
        self.second = self.first if self.how == "norm too" else norm(c, choose, "second")
        self.add = choose.pick("add", True, False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.b(F.relu(self.first(self.a(x)))))
        return F.relu(x + y if self.add else y)


class SqueezeExcite(Spelled):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width, small = choose.width(), choose.pick("small", 4, 8)
        self.first, self.last = unit(c, width, choose), unit(width, choose.width("last"), choose)
        self.linear = choose.pick("linear", True, False)
        reduce = nn.Linear(width, small) if self.linear else nn.Conv2d(width, small, 1)
        expand = nn.Linear(small, width) if self.linear else nn.Conv2d(small, width, 1)
        self.gate = nn.Sequential(reduce, act(small, choose), expand)
        self.squash = choose.pick("squash", torch.sigmoid, F.hardsigmoid, torch.tanh)
        choose.told["squash"] = self.squash.__name__
        self.residual = choose.pick("residual", True, False)
        self.fix(channels=width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c = x.shape[:2]
        if self.linear:
            scale = self.squash(self.gate(x.mean((2, 3)))).view(n, self.of("channels", c), 1, 1)
        else:
            scale = self.squash(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return self.last(x + x * scale if self.residual else x * scale.expand_as(x))


class SelectKernel(Spelled):
    """Two branches weighed by a softmax between them."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width = choose.width()
        self.a, self.b = unit(c, width, choose, 1), unit(c, width, choose, 3)
        self.reduce, self.expand = nn.Conv2d(width, 8, 1), nn.Conv2d(8, 2 * width, 1)
        self.last = unit(width, choose.width("last"), choose)
        self.fix(channels=width)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([self.a(x), self.b(x)], 1)
        pooled = both.sum(1).mean((2, 3), keepdim=True)
        n, c = pooled.shape[:2]
        weights = self.expand(F.relu(self.reduce(pooled))).view(n, 2, self.of("channels", c), 1, 1).softmax(1)
        return self.last((both * weights).sum(1))


class LayerScale(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.how = choose.pick("gamma", "view", "none axes", "whole", "per image")
        self.gamma = nn.Parameter(torch.ones(*((c, 1, 1) if self.how == "whole" else (c,))))
        self.inside = unit(c, c, choose)

    def forward(self, x: Tensor) -> Tensor:
        shapes = {"view": lambda g: g.view(1, -1, 1, 1), "none axes": lambda g: g[:, None, None]}
        shapes |= {"whole": lambda g: g, "per image": lambda g: g.reshape(1, -1, 1, 1).expand(len(x), -1, 1, 1)}
        return x + self.inside(x) * shapes[self.how](self.gamma)


class Transposed(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width, groups = choose.width(), choose.pick("groups", 1, 1, 2)
        bias = choose.pick("bias", True, False)
        self.up = nn.Sequential(nn.ConvTranspose2d(c, width, 2, 2, groups=groups, bias=bias), norm(width, choose))
        self.down = nn.Sequential(act(width, choose), nn.MaxPool2d(2), *unit(width, choose.width("last"), choose))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x))


class Modulated(nn.Module):
    """A scale and a shift of each channel, computed from the image."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.first = unit(c, c, choose)
        self.both = nn.Linear(c, 2 * c)
        self.last = unit(c, choose.width(), choose)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.both(x.mean((2, 3)))[:, :, None, None].chunk(2, 1)
        return self.last(self.first(x) * (1 + scale) + shift)


class Downsampled(nn.Module):
    """A strided block beside its strided shortcut, then back to the old size."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.main = nn.Sequential(
            *unit(c, width, choose), nn.AvgPool2d(2), conv(width, width, choose), norm(width, choose)
        )
        self.side = nn.Sequential(nn.Conv2d(c, width, 1, 2, bias=False), norm(width, choose, "side"))
        self.mode = choose.pick("mode", "nearest", "bilinear")

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.relu(self.main(x) + self.side(x)), scale_factor=2, mode=self.mode)


KINDS = (Plain, Residual, PreActivation, Dense, Branches, Grouped, Depthwise, Shuffle, ShuffleHalves, Split, Gate)
KINDS += (PaddedShortcut, Unshuffled, Tied, SqueezeExcite, SelectKernel, LayerScale, Transposed, Modulated, Downsampled)
IMAGE = {kind.__name__: kind for kind in KINDS}
