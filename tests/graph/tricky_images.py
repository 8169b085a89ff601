"""Networks on images that structural pruners trip on, with channels that are dead by construction."""

import torch
import torch.nn.functional as F
from dead_channels import CB, Dead, dead, kill
from torch import nn


class Plain(Dead):
    def __init__(self):
        super().__init__()
        self.a, self.b = CB(3, 16), CB(16, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.b(self.a(x)).mean((2, 3)))

    def make_dead(self):
        for m in (self.a, self.b):
            kill(dead(m[0].out_channels), m[0], m[1])


class Residual(Dead):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = CB(3, 16), CB(16, 16), CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        x = x + self.b(x)
        x = x + self.c(x)
        return self.head(x.mean((2, 3)))

    def make_dead(self):
        for m in (self.a, self.b, self.c):
            kill(dead(16), m[0], m[1])


class Concat(Dead):
    def __init__(self):
        super().__init__()
        self.a = CB(3, 12)
        self.b = CB(12, 8)
        self.c = CB(20, 8)
        self.d = CB(28, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        f = [self.a(x)]
        f.append(self.b(f[0]))
        f.append(self.c(torch.cat(f, 1)))
        return self.head(self.d(torch.cat(f, 1)).mean((2, 3)))

    def make_dead(self):
        for m in (self.a, self.b, self.c, self.d):
            kill(dead(m[0].out_channels), m[0], m[1])


class DenseNorm(Dead):
    """DenseNet order: BN over the concatenation, each BN sees a different width."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.n1, self.b = nn.BatchNorm2d(12), nn.Conv2d(12, 8, 3, padding=1, bias=False)
        self.n2, self.c = nn.BatchNorm2d(20), nn.Conv2d(20, 8, 3, padding=1, bias=False)
        self.n3 = nn.BatchNorm2d(28)
        self.head = nn.Linear(28, 10)

    def forward(self, x):
        f = [self.a(x)]
        f.append(self.b(F.relu(self.n1(f[0]))))
        f.append(self.c(F.relu(self.n2(torch.cat(f, 1)))))
        return self.head(F.relu(self.n3(torch.cat(f, 1))).mean((2, 3)))

    def make_dead(self):
        d = [dead(12), [12 + i for i in dead(8)], [20 + i for i in dead(8)]]
        kill(dead(12), self.a)
        kill(dead(8), self.b, self.c)
        kill(d[0], self.n1)
        kill(d[0] + d[1], self.n2)
        kill(d[0] + d[1] + d[2], self.n3)


class Depthwise(Dead):
    def __init__(self):
        super().__init__()
        self.a, self.d, self.p = CB(3, 16), CB(16, 16, 3, 16), CB(16, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.p(self.d(self.a(x))).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.d[0], self.d[1])
        kill(dead(24), self.p[0], self.p[1])


class DepthMult(Dead):
    """Depthwise with multiplier 2 (out = 2 * in)."""

    def __init__(self):
        super().__init__()
        self.a, self.p = CB(3, 8), CB(16, 24, 1)
        self.d = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.p(F.relu(self.d(self.a(x)))).mean((2, 3)))

    def make_dead(self):
        kill(dead(8), self.a[0], self.a[1])
        kill([2 * i + j for i in dead(8) for j in (0, 1)], self.d)
        kill(dead(24), self.p[0], self.p[1])


class GroupConv(Dead):
    """Same offsets dead in every group."""

    al = True

    def __init__(self):
        super().__init__()
        self.a, self.g, self.p = CB(3, 16), CB(16, 32, 3, 4), CB(32, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.p(self.g(self.a(x))).mean((2, 3)))

    def make_dead(self):
        kill(dead(16, 4, self.al), self.a[0], self.a[1])
        kill(dead(32, 4, self.al), self.g[0], self.g[1])
        kill(dead(16), self.p[0], self.p[1])


class GroupConvFree(GroupConv):
    """Other offsets dead in every group (balanced counts)."""

    al = False


class Shuffle(Dead):
    """ShuffleNet: dead offsets aligned over the groups and balanced for the next grouped conv."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = CB(3, 16), CB(16, 16, 1, 2), CB(16, 16, 1, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.b(self.a(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.c(x).mean((2, 3)))

    def make_dead(self):
        d = [g * 8 + k for g in (0, 1) for k in (1, 3, 4, 6)]
        for m in (self.a, self.b, self.c):
            kill(d, m[0], m[1])


class PixShuffle(Dead):
    def __init__(self):
        super().__init__()
        self.a, self.u, self.b = CB(3, 16), nn.Conv2d(16, 32, 3, padding=1, bias=False), CB(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.b(F.pixel_shuffle(self.u(self.a(x)), 2)).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.b[0], self.b[1])
        kill([4 * i + j for i in dead(8) for j in range(4)], self.u)


class FlattenLinear(Dead):
    def __init__(self):
        super().__init__()
        self.a = CB(3, 8)
        self.fc = nn.Linear(8 * 16, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(F.relu(self.fc(F.adaptive_avg_pool2d(self.a(x), 4).flatten(1))))

    def make_dead(self):
        kill(dead(8), self.a[0], self.a[1])
        kill(dead(32), self.fc)


class GN(Dead):
    """GroupNorm: removing a channel changes its group's statistics, so no exact oracle."""

    exact = False

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.n = nn.GroupNorm(4, 16)
        self.b = CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.b(F.relu(self.n(self.a(x)))).mean((2, 3)))

    def make_dead(self):
        kill(dead(16, 4), self.a, self.n)
        kill(dead(16), self.b[0], self.b[1])


class SE(Dead):
    def __init__(self):
        super().__init__()
        self.a = CB(3, 16)
        self.r, self.e = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.b = CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        x = x * torch.sigmoid(self.e(F.relu(self.r(x.mean((2, 3), keepdim=True)))))
        return self.head(self.b(x).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.e, self.b[0], self.b[1])
        kill(dead(8), self.r)


class Tied(Dead):
    """One conv used twice (shared module)."""

    def __init__(self):
        super().__init__()
        self.a = CB(3, 16)
        self.r = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        return self.head(F.relu(self.r(F.relu(self.r(x)))).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.r)


class Dynamic(Dead):
    """Data-dependent python branch."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = CB(3, 16), CB(16, 16), CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        x = self.b(x) if float(x.mean()) > 1e9 else self.c(x)
        return self.head(x.mean((2, 3)))

    def make_dead(self):
        for m in (self.a, self.b, self.c):
            kill(dead(16), m[0], m[1])


class Chunk(Dead):
    """Gated: chunk in two halves, multiply."""

    def __init__(self):
        super().__init__()
        self.a = CB(3, 16)
        self.g = nn.Conv2d(16, 32, 1)
        self.b = CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        u, v = self.g(self.a(x)).chunk(2, 1)
        return self.head(self.b(u * torch.tanh(v)).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.b[0], self.b[1])
        d = dead(16)
        kill(d + [16 + i for i in d], self.g)


class SplitUneven(Dead):
    """C2f-like: split, one half through a conv, concat all."""

    def __init__(self):
        super().__init__()
        self.a = CB(3, 16)
        self.m = CB(8, 8)
        self.b = CB(24, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        y = list(self.a(x).split([8, 8], 1))
        y.append(self.m(y[-1]))
        return self.head(self.b(torch.cat(y, 1)).mean((2, 3)))

    def make_dead(self):
        d = dead(8)
        kill(d + [8 + i for i in d], self.a[0], self.a[1])
        kill(d, self.m[0], self.m[1])
        kill(dead(16), self.b[0], self.b[1])


class WeightNorm(Dead):
    def __init__(self):
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 16, 3, padding=1))
        self.b = CB(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.b(F.relu(self.a(x))).mean((2, 3)))

    def make_dead(self):
        d = dead(16)
        kill(d, self.b[0], self.b[1])
        with torch.no_grad():
            self.a.parametrizations.weight.original0[d] = 0
            self.a.bias[d] = 0


class PadShortcut(Dead):
    """CIFAR ResNet option A: strided slice + zero pad of channels, fixed constants."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = CB(3, 16), CB(16, 32), CB(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.a(x)
        sh = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
        x = self.c(F.max_pool2d(self.b(x), 2)) + sh
        return self.head(x.mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1])
        kill(dead(32), self.b[0], self.b[1])
        alive = [8 + i for i in range(16) if i not in dead(16)]
        keep = alive + list(range(8))
        kill([i for i in range(32) if i not in keep], self.c[0], self.c[1])


class ConvT(Dead):
    def __init__(self):
        super().__init__()
        self.a = CB(3, 16)
        self.u = nn.ConvTranspose2d(16, 8, 2, 2, bias=False)
        self.b = CB(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.b(F.relu(self.u(self.a(x)))).mean((2, 3)))

    def make_dead(self):
        kill(dead(16), self.a[0], self.a[1], self.b[0], self.b[1])
        with torch.no_grad():
            self.u.weight[:, dead(8)] = 0


class LayerScale(Dead):
    """Bare nn.Parameter with a fixed view shape."""

    def __init__(self):
        super().__init__()
        self.a, self.b = CB(3, 16), CB(16, 16)
        self.gamma = nn.Parameter(torch.rand(16) + 0.5)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        x = x + self.b(x) * self.gamma.view(1, -1, 1, 1)
        return self.head(x.mean((2, 3)))

    def make_dead(self):
        for m in (self.a, self.b):
            kill(dead(16), m[0], m[1])
        with torch.no_grad():
            self.gamma[dead(16)] = 0


ON_IMAGES = (
    Plain,
    Residual,
    Concat,
    DenseNorm,
    Depthwise,
    DepthMult,
    GroupConv,
    GroupConvFree,
    Shuffle,
    PixShuffle,
    FlattenLinear,
    GN,
    SE,
    Tied,
    Dynamic,
    Chunk,
    SplitUneven,
    WeightNorm,
    PadShortcut,
    ConvT,
    LayerScale,
)
