"""A report with every section, in which every name tries to break out of the page."""

from prunelle.report.rows import Report

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\"{{ 7*7 }}"


def row(seed: int, variant: str, size_bytes: int) -> dict:
    return {
        "id": f"{seed}{variant}",
        "run": HOSTILE,
        "variant": variant,
        "model": HOSTILE,
        "seed": seed,
        "params": 1000,
        "nnz": 100,
        "sparsity": 0.9,
        "macs": 5000,
        "macs_nonzero": 500 if variant == "pruned" else 5000,
        "size_bytes": size_bytes,
        "top1": 0.9 + seed / 100,
        "top1_low": 0.88,
        "top1_high": 0.95,
        "num_test": 360,
        "loss": None if seed else float("nan"),
        "latency_median_ms": 1.25,
        "latency_ratio": 1.0,
        "ratio_low": 0.98,
        "ratio_high": 1.02,
        "runtime": HOSTILE,
        "batch": 1,
        "threads": 1,
        HOSTILE: HOSTILE,
    }


def full_report() -> Report:
    """Sizes of 9, 10, 100 and 1,000 KB, for which sorting as text gives another order than sorting as numbers."""
    points = [{"epoch": e, "train_loss": 2 / e, "val_loss": 2.1 / e, "sparsity": e / 10, "lr": 0.1} for e in (1, 2, 3)]
    return Report(
        title=HOSTILE,
        summary=HOSTILE,
        rows=[row(0, "dense", 1_000_000), row(0, "pruned", 9_000), row(1, "dense", 100_000), row(1, "pruned", 10_000)],
        curves=[{"name": HOSTILE, "points": points}, {"name": "other", "points": points}],
        layers=[
            {"run": run, "layer": HOSTILE, "params_before": 9, "params_after": 3, "macs_before": 9, "macs_after": 3}
            for run in (HOSTILE, "other")
        ],
        flips={
            "class_names": [HOSTILE, "dog"],
            "per_class": [{"class": 0, "num": 5, "top1_before": 0.8, "top1_after": 0.6, "lost": 1, "gained": 0}],
        },
        commands=[HOSTILE, "prunelle report runs"],
        environment={HOSTILE: HOSTILE, "cpu": {"cores": 2}, "gpu": None},
        files=[{"path": HOSTILE, "bytes": 12345, "what": HOSTILE}, {"path": "x", "bytes": None}],
        notes=[HOSTILE],
    )
