"""Networks on sequences that structural pruners trip on, with channels that are dead by construction."""

import torch
import torch.nn.functional as F
from dead_channels import Dead, dead, kill
from torch import nn


class RNN(Dead):
    shape = (2, 7, 6)

    def __init__(self, cls=nn.LSTM, layers=2, bi=False):
        super().__init__()
        self.inp = nn.Linear(6, 16)
        self.rnn = cls(16, 16, layers, batch_first=True, bidirectional=bi)
        self.head = nn.Linear(16 * (1 + bi), 10)
        self.g = 4 if cls is nn.LSTM else 3

    def forward(self, x):
        return self.head(self.rnn(F.relu(self.inp(x)))[0][:, -1])

    def make_dead(self):
        kill(dead(16), self.inp)
        d = dead(16)
        with torch.no_grad():  # gates of dead units zero: LSTM g=tanh(0)=0 -> h=0; GRU n=0,h0=0 -> h=0
            for n, p in self.rnn.named_parameters():
                if n.startswith(("weight_ih", "weight_hh", "bias")):
                    for k in range(self.g):
                        p[[k * 16 + i for i in d]] = 0


class GRU(RNN):
    def __init__(self):
        super().__init__(nn.GRU)


class BiLSTM(RNN):
    def __init__(self):
        super().__init__(nn.LSTM, 1, True)


class MHA(Dead):
    """nn.MultiheadAttention between two linears; half of the heads' v/out dims dead is not required, only to run."""

    shape = (2, 7, 12)
    exact = False

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(12, 32)
        self.att = nn.MultiheadAttention(32, 4, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.inp(x)
        return self.head((x + self.att(x, x, x, need_weights=False)[0]).mean(1))


class Encoder(Dead):
    shape = (2, 7, 12)
    exact = False

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(12, 32)
        self.enc = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.enc(self.inp(x)).mean(1))


class QKV(Dead):
    """Fused qkv linear, reshape(B,N,3,H,-1), SDPA, and an MLP; only the MLP hidden units are dead."""

    shape = (2, 7, 12)
    exact = False

    def __init__(self):
        super().__init__()
        self.num_heads = 4
        self.inp = nn.Linear(12, 32)
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.f1, self.f2 = nn.Linear(32, 64), nn.Linear(64, 32)
        self.n1, self.n2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.inp(x)
        b, n, _ = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))
        return self.head((x + self.f2(F.gelu(self.f1(self.n2(x))))).mean(1))


class QKVDead(QKV):
    """Only head dimensions (the same in every head, of q, k and v alike) and hidden units of the MLP are dead.

    The default scale of attention is 1 / sqrt(head dimensions): exact only where the cut keeps the old one.
    """

    exact = True

    def make_dead(self):
        h = dead(32, 4, True)
        kill([k * 32 + i for k in range(3) for i in h], self.qkv)
        kill(dead(64), self.f1)


class MHADead(MHA):
    """The same for nn.MultiheadAttention (its head dim follows embed_dim, so the trunk dies along)."""

    exact = True

    def make_dead(self):
        h = dead(32, 4, True)
        kill(h, self.inp, self.att.out_proj)
        with torch.no_grad():
            for k in range(3):
                self.att.in_proj_weight[[k * 32 + i for i in h]] = 0
                self.att.in_proj_bias[[k * 32 + i for i in h]] = 0


class MLPDead(Dead):
    """A transformer's MLP: only hidden units are dead, the layer norm holds the trunk."""

    shape = (2, 7, 12)

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(12, 32)
        self.f1, self.f2 = nn.Linear(32, 64), nn.Linear(64, 32)
        self.n = nn.LayerNorm(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.inp(x)
        return self.head((x + self.f2(F.gelu(self.f1(self.n(x))))).mean(1))

    def make_dead(self):
        kill(dead(64), self.f1)


class TiedParam(Dead):
    """An embedding and the output share one weight."""

    shape = (2, 7)

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 16)
        self.f1, self.f2 = nn.Linear(16, 32), nn.Linear(32, 16)
        self.out = nn.Linear(16, 20, bias=False)
        self.out.weight = self.emb.weight

    def example(self):
        return torch.randint(0, 20, self.shape, generator=torch.Generator().manual_seed(5))

    def forward(self, x):
        return self.out(self.f2(F.relu(self.f1(self.emb(x)))) + self.emb(x))

    def make_dead(self):
        kill(dead(32), self.f1)
        d = dead(16)
        with torch.no_grad():
            self.emb.weight[:, d] = 0
        kill(d, self.f2)


ON_SEQUENCES = (RNN, GRU, BiLSTM, MHA, Encoder, QKV, QKVDead, MHADead, MLPDead, TiedParam)
