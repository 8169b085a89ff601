"""Are members the masked network? Cut against masked in float64, for each family and group size.

python benchmarks/classwise_masked.py [--json FILE]

Members of one, of half and of all but one class, cut to half of the multiply-adds, of networks with random weights and
statistics. The bar: the largest difference below 1e-10 for all of VGG, ResNet, MobileNetV2 and ShuffleNetV2. About two
minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from prunelle.classwise.cutting import Cutting, Evidence, plan_member
from prunelle.classwise.head import member_of
from prunelle.classwise.look import look_at
from prunelle.classwise.member import head_batches
from prunelle.classwise.member_task import member_task
from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.graph.copies import randomised
from prunelle.models.load import build

LIMIT = 1e-10
NETS = {
    "vgg16_bn_cifar": 32,
    "resnet20": 32,
    "resnet44": 32,
    "mobilenet_v2_cifar": 32,
    "shufflenet_v2": 64,
}
GROUPS = ((3,), (0, 2, 4, 6, 8), (0, 1, 2, 3, 4, 5, 6, 7, 8))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, side in NETS.items():
        task = enlarged(load_task("digits"), side)
        model = randomised(build(name, input_shape=task.input_shape, num_classes=10), 0, torch.float32).eval()
        look = look_at(model, task, num_images=256)
        for group in GROUPS:
            rows.append({"net": name, "classes": len(group), "error": off(model, task, look, group)})
            print(f"{name:20} {len(group)} classes: {rows[-1]['error']:.1e}", flush=True)
    worst = max(row["error"] for row in rows)
    print(f"largest difference {worst:.1e}; the bar is {LIMIT:.0e}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0 if worst <= LIMIT else 1


def off(model, task: Task, look, group: tuple[int, ...]) -> float:
    """The largest difference between a cut member and the masked one, both with the member's own weights."""
    own = member_task(task, group)
    member = member_of(model, look.head, group, head_batches(task, 0)[:1])
    cutting = Cutting(0.5, score=None)
    found = plan_member(member, own, group, Evidence(look.activations, look.macs), cutting).plan
    assert found.cuts.tensors
    image = next(iter(task.val.epoch(2)))[0]
    return found.prove(member, image).error


def enlarged(task: Task, side: int) -> Task:
    """The task with its images repeated up to `side` pixels and three channels."""
    splits = {}
    for name in ("train", "val", "test"):
        split = getattr(task, name)
        images = torch.nn.functional.interpolate(split.images.float(), size=(side, side)).to(split.images.dtype)
        preprocessing = replace(split.preprocessing, mean=split.preprocessing.mean * 3, std=split.preprocessing.std * 3)
        splits[name] = replace(split, images=images.expand(-1, 3, -1, -1).contiguous(), preprocessing=preprocessing)
    return replace(task, **splits, input_shape=(3, side, side), preprocessing=splits["train"].preprocessing)


if __name__ == "__main__":
    sys.exit(main())
