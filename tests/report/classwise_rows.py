"""A made-up class-wise network, small enough to work out by hand: 4 classes, 2 members, 40 test images."""

from prunelle.report.classwise import ClasswiseReport

NAMES = ("cat", "car", "dog", "van")
GROUPS = ((0, 2), (1, 3))
SIMILARITY = ((1.0, -0.4, 0.8, -0.3), (-0.4, 1.0, -0.2, 0.6), (0.8, -0.2, 1.0, -0.1), (-0.3, 0.6, -0.1, 1.0))
CONFUSION = ((8, 0, 2, 0), (0, 9, 0, 1), (3, 1, 6, 0), (0, 0, 0, 10))
WHOLE = {
    "top1": 0.85, "top1_low": 0.71, "top1_high": 0.93, "macs": 40_000_000, "params": 270_000, "size_bytes": 1_080_000,
    "num_test": 40,
}  # fmt: skip
COMBINED = {
    "top1": 0.825, "top1_low": 0.68, "top1_high": 0.91, "macs": 34_000_000, "params": 189_000, "size_bytes": 800_000,
    "path": "out/", "num_wrong_group": 1, "num_wrong_within": 6, "macs_largest": 19_200_000,
}  # fmt: skip
SPEED = [
    {"runtime": "native", "what": "whole, 2 threads", "ms": 2.0, "p95_ms": 2.1, "ratio": None},
    {"runtime": "native", "what": "members side by side", "ms": 1.25, "p95_ms": 1.5, "ratio": 1.6, "ratio_low": 1.55,
     "ratio_high": 1.65},
    {"runtime": "native", "what": "members one after another", "ms": 2.5, "p95_ms": 2.6, "ratio": 0.8,
     "ratio_low": 0.78, "ratio_high": 0.82},
    {"runtime": "native", "what": "cut as one network, 2 threads", "ms": 1.0, "p95_ms": 1.1, "ratio": 2.0,
     "ratio_low": 1.9, "ratio_high": 2.1},
    {"runtime": "onnxruntime", "what": "whole, 2 threads", "ms": 1.5, "p95_ms": 1.6, "ratio": None},
    {"runtime": "onnxruntime", "what": "members side by side", "ms": 1.5, "p95_ms": 1.6, "ratio": 1.0,
     "ratio_low": 0.9, "ratio_high": 1.1},
]  # fmt: skip
TRIALS = [
    {"grouping": name, "seed": seed, "top1": top1, "macs": 34_000_000, "params": 189_000}
    for name, found in {"random": (0.80, 0.82), "similar": (0.83, 0.85), "kmeans": (0.81, 0.80)}.items()
    for seed, top1 in enumerate(found)
]
GROUPINGS = [
    {"grouping": "random", "num_seeds": 2, "mean": 0.81, "low": 0.80, "high": 0.82, "gain": None, "gain_low": None,
     "gain_high": None, "macs_total": 34_000_000, "params_total": 189_000},
    {"grouping": "similar", "num_seeds": 2, "mean": 0.84, "low": 0.83, "high": 0.85, "gain": 0.03, "gain_low": 0.02,
     "gain_high": 0.04, "macs_total": 35_000_000, "params_total": 190_000},
    {"grouping": "kmeans", "num_seeds": 2, "mean": 0.805, "low": 0.79, "high": 0.82, "gain": -0.005, "gain_low": -0.02,
     "gain_high": 0.01, "macs_total": 36_000_000, "params_total": 191_000},
]  # fmt: skip


def member(number: int, classes: list[str], macs: int, params: int, **more) -> dict:
    found = {
        "member": number, "classes": classes, "macs": macs, "macs_share": macs / WHOLE["macs"], "params": params,
        "params_share": params / WHOLE["params"], "size_bytes": 400_000, "epochs": 8, "epochs_saved": 2,
        "val_top1": 0.9, "test_top1": 0.89, "temperature": 1.25, "bias": -0.5, "latency_ms": None,
    }  # fmt: skip
    return found | more


MEMBERS = [member(1, ["cat", "dog"], 19_200_000, 108_000), member(2, ["car", "van"], 14_800_000, 81_000)]


def layer(number: int, name: str, channels: int, dense: int) -> dict:
    return {
        "member": number, "classes": ", ".join(MEMBERS[number - 1]["classes"]), "layer": name, "channels": channels,
        "channels_dense": dense, "params": 10 * channels, "params_dense": 10 * dense, "macs": 1000 * channels,
        "macs_dense": 1000 * dense,
    }  # fmt: skip


ROWS = [
    layer(1, "conv1", 16, 16), layer(1, "conv3", 8, 32),
    layer(2, "conv1", 8, 16), layer(2, "conv2", 16, 16), layer(2, "conv3", 24, 32),
]  # fmt: skip


def report(**changed) -> ClasswiseReport:
    values = {
        "title": "a class-wise network", "command": "prunelle classwise m --out out", "summary": ["One.", "Two."],
        "class_names": NAMES, "groups": GROUPS, "grouping": "kmeans", "similarity": SIMILARITY,
        "similarity_of": "cosine of class features", "whole": WHOLE, "combined": COMBINED, "members": MEMBERS,
        "rows": ROWS, "confusion": CONFUSION, "speed": SPEED, "trials": TRIALS, "groupings": GROUPINGS,
        "saved": {"epochs": 16, "epochs_saved": 4, "share": 0.2}, "notes": ["A note."],
        "files": [{"path": "model.json", "bytes": 1234, "what": "the members"}], "environment": {"cpu": "c"},
    }  # fmt: skip
    return ClasswiseReport(**(values | changed))


def many(number: int) -> ClasswiseReport:
    """So many classes in groups of 10."""
    names = [f"class number {one}" for one in range(number)]
    similarity = [[1.0 if a == b else ((a * b) % 7 - 2) / 10 for b in range(number)] for a in range(number)]
    counts = [[90 if a == b else (a + b) % 3 for b in range(number)] for a in range(number)]
    groups = [range(first, min(first + 10, number)) for first in range(0, number, 10)]
    return report(class_names=names, groups=groups, similarity=similarity, confusion=counts, members=())
