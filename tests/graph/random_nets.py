"""Random networks, each made from a seed: a first layer, pieces that may nest or reach back, a last layer.

A network is a list of (kind, seed) pairs, so that one can be told in a line and made smaller by leaving pieces out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from attention_pieces import ATTENTION
from channel_pieces import CHANNEL
from choices import Choices, Spelled, conv, unit
from image_pieces import IMAGE
from randomised import randomise_
from token_pieces import TOKEN
from torch import Tensor, nn

NUM_CLASSES, NUM_WORDS, NUM_TOKENS = 10, 20, 7
ON_IMAGES, ON_TOKENS = IMAGE | CHANNEL, ATTENTION | TOKEN


class Piece(NamedTuple):
    """kind: a class of pieces. seed: of its choices."""

    kind: str
    seed: int


class Around(nn.Module):
    """What any piece does, added to its input, or joined with it or with what another piece does."""

    def __init__(self, shape: torch.Size, choose: Choices, kinds: dict[str, Any]) -> None:
        super().__init__()
        channels = 1 if len(shape) == 4 else 2
        self.axis = 1 if len(shape) == 4 else -1
        self.how = choose.pick("around", "add", "join", "join two", "add two", "multiply")
        self.a = kinds[choose.pick("a", *kinds)](shape[channels], choose)
        self.b = kinds[choose.pick("b", *kinds)](shape[channels], choose) if "two" in self.how else nn.Identity()
        wide = [width_of(one, shape, channels) for one in (self.a, self.b)]
        layer = nn.Linear if channels == 2 else (lambda a, b: nn.Conv2d(a, b, 1))
        same = wide[0] == wide[1] or self.how.startswith("join")
        self.fit = nn.Identity() if same else layer(*wide)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.fit(self.a(x)), self.b(x)
        if self.how.startswith("join"):
            return torch.cat([b, a], self.axis)
        return b * torch.sigmoid(a) if self.how == "multiply" else b + a


class Back(nn.Module):
    """Joins or adds what an earlier piece gave, fitted by a layer where its width is another."""

    def __init__(self, shapes: list[torch.Size], choose: Choices) -> None:
        super().__init__()
        now = shapes[-1]
        fitting = [i for i, one in enumerate(shapes) if len(one) == len(now) and (one[2:] == now[2:] or len(one) == 3)]
        self.earlier, self.how = choose.pick("earlier", *fitting), choose.pick("how", "add", "join")
        self.axis = 1 if len(now) == 4 else -1
        there, here = shapes[self.earlier][self.axis], now[self.axis]
        layer = nn.Linear(there, here) if self.axis == -1 else nn.Conv2d(there, here, 1)
        self.fit = layer if self.how == "add" and there != here else nn.Identity()

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        there = self.fit(seen[self.earlier])
        return x + there if self.how == "add" else torch.cat([x, there], self.axis)


class ToTokens(Spelled):
    """Patches become tokens, 7 of the 8 x 8 places or of the patches."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width = choose.width()
        self.patches, self.how = nn.Conv2d(c, width, 2, 2), choose.pick("by", "flatten", "reshape")
        self.place = nn.Parameter(torch.zeros(1, NUM_TOKENS, width))
        self.fix(channels=width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        if self.how == "flatten":
            x = x.flatten(2).transpose(1, 2)
        else:
            x = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.of("channels", x.shape[1]))
        return x[:, :NUM_TOKENS] + self.place


class Head(Spelled):
    """From images or tokens to classes, in the ways that heads are written."""

    def __init__(self, shape: torch.Size, choose: Choices) -> None:
        super().__init__(choose)
        self.images, width = len(shape) == 4, shape[1] if len(shape) == 4 else shape[2]
        kinds = ("mean", "flatten", "pool", "largest", "conv", "view", "features", "two")
        self.how = choose.pick("head", *(kinds if self.images else ("mean", "first", "flatten", "largest", "each")))
        wide = width * (4 if self.images else shape[1]) if self.how in ("flatten", "view") else width
        self.fix(wide=wide)
        self.last = conv(width, NUM_CLASSES, choose, 1) if self.how == "conv" else nn.Linear(wide, NUM_CLASSES)
        hidden = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Dropout(0.1))
        self.hidden = hidden if self.how == "flatten" and choose.pick("hidden", True, False) else nn.Identity()

    def forward(self, x: Tensor) -> Any:
        if not self.images:
            ways: dict[str, Callable] = {"mean": lambda: x.mean(1), "first": lambda: x[:, 0], "each": lambda: x}
            ways |= {"flatten": lambda: self.hidden(x.flatten(1)), "largest": lambda: x.max(1)[0]}
            return self.last(ways[self.how]())
        if self.how == "features":
            return x
        if self.how == "two":
            return self.last(x.mean((2, 3))), {"features": x[:, :, ::4, ::4]}
        if self.how == "conv":
            return self.last(x).mean((2, 3))
        if self.how in ("flatten", "view"):
            x = F.adaptive_avg_pool2d(x, 2).contiguous()
            x = x.flatten(1) if self.how == "flatten" else x.view(-1, self.of("wide", x[0].numel()))
            return self.last(self.hidden(x))
        pooled = {"mean": lambda: x.mean([-2, -1]), "largest": lambda: x.amax((2, 3))}
        pooled["pool"] = lambda: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]
        return self.last(pooled[self.how]())


class TiedHead(nn.Module):
    """Words scored by the very vectors that they are read as."""

    def __init__(self, vectors: nn.Embedding, width: int) -> None:
        super().__init__()
        self.fit = nn.Linear(width, vectors.embedding_dim)
        self.last = nn.Linear(vectors.embedding_dim, NUM_WORDS, bias=False)
        self.last.weight = vectors.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.fit(x))


class RandomNet(nn.Module):
    """pieces: the first names the input (images, tokens or words), the last the head. told: every choice made."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__()
        first, *middle, last = pieces
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.pieces = nn.ModuleList([self.choose(first, lambda choose: make_first(first.kind, choose))])
        seen = [sample_through(self.pieces[0], example(first.kind, 2, 0))]
        for piece in middle:
            made = self.choose(piece, lambda choose, kind=piece.kind: make(kind, [x.shape for x in seen], choose))
            self.pieces.append(made)
            seen.append(sample_through(made, seen[-1], seen))
        self.head = self.choose(last, lambda choose: make_last(last.kind, self.pieces[0], seen[-1].shape, choose))

    def choose(self, piece: Piece, build: Callable[[Choices], nn.Module]) -> nn.Module:
        choose = Choices(piece.seed)
        made = build(choose)
        self.told.append((piece.kind, choose.told))
        return made

    def forward(self, x: Tensor) -> Any:
        seen: list[Tensor] = []
        for piece in self.pieces:
            x = piece(x, seen) if isinstance(piece, Back) else piece(x)
            seen.append(x)
        return self.head(x)


def make_first(kind: str, choose: Choices) -> nn.Module:
    if kind == "images":
        return unit(3, choose.width(), choose)
    if kind == "tokens":
        return nn.Sequential(
            nn.Linear(6, choose.width()), nn.ReLU() if choose.pick("relu", True, False) else nn.Identity()
        )
    return nn.Embedding(NUM_WORDS, choose.width())


def make(kind: str, shapes: list[torch.Size], choose: Choices) -> nn.Module:
    shape = shapes[-1]
    if kind == "Back":
        return Back(shapes, choose)
    kinds = ON_IMAGES if len(shape) == 4 else ON_TOKENS
    if kind == "Around":
        return Around(shape, choose, kinds)
    made = ToTokens if kind == "ToTokens" else kinds[kind]
    return made(shape[1] if len(shape) == 4 else shape[2], choose)


def make_last(kind: str, first: nn.Module, shape: torch.Size, choose: Choices) -> nn.Module:
    return TiedHead(first, shape[2]) if kind == "TiedHead" else Head(shape, choose)  # type: ignore[arg-type]


@torch.no_grad()
def sample_through(made: nn.Module, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
    """What a new piece gives, to know its shape."""
    made.eval()
    return made(x, seen) if isinstance(made, Back) else made(x)


def width_of(made: nn.Module, shape: torch.Size, axis: int) -> int:
    return sample_through(made, torch.zeros(shape)).shape[axis]


def example(kind: str, batch: int, seed: int) -> Tensor:
    """Inputs of a network whose first piece is `kind`."""
    draws = torch.Generator().manual_seed(seed)
    if kind == "words":
        return torch.randint(0, NUM_WORDS, (batch, NUM_TOKENS), generator=draws)
    return torch.randn(batch, *((3, 8, 8) if kind == "images" else (NUM_TOKENS, 6)), generator=draws)


def draw(seed: int) -> list[Piece]:
    """The pieces of network number `seed`."""
    random = Random(seed)
    first = random.choices(("images", "tokens", "words"), (65, 28, 7))[0]
    kinds, pieces = (ON_IMAGES if first == "images" else ON_TOKENS), [Piece(first, random.getrandbits(32))]
    for _ in range(random.choice((1, 2, 2, 3, 3, 4))):
        if first == "images" and kinds is ON_IMAGES and random.random() < 0.06:
            kinds = ON_TOKENS
            pieces.append(Piece("ToTokens", random.getrandbits(32)))
        kind = random.choices(("Around", "Back", ""), (12, 12, 76))[0] or random.choice(list(kinds))
        pieces.append(Piece(kind, random.getrandbits(32)))
    tied = first == "words" and random.random() < 0.5
    return [*pieces, Piece("TiedHead" if tied else "Head", random.getrandbits(32))]


def build(pieces: Sequence[Piece]) -> RandomNet:
    """The network of these pieces, every tensor drawn, in eval mode; the global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = RandomNet(pieces)
    return randomise_(model, torch.Generator().manual_seed(pieces[0].seed))  # type: ignore[return-value]
