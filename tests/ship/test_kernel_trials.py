import torch
from torch import nn

from prunelle.measure.latency import Timing
from prunelle.ship.c.conv import Shape
from prunelle.ship.c_plan import plan_c
from prunelle.ship.compiler import target_of
from prunelle.ship.kernel_trials import aligned, choose_kernels, fastest


def timing(ratio: float | None) -> Timing:
    fields = dict.fromkeys(Timing.__dataclass_fields__, 1.0)
    return Timing(**{**fields, "ratio": ratio})  # type: ignore[arg-type]


def test_the_fastest_is_the_largest_ratio_to_the_first() -> None:
    assert fastest([timing(None), timing(0.9), timing(1.3)]) == 2
    assert fastest([timing(None), timing(0.9)]) == 0


def test_memory_is_aligned_and_large_enough() -> None:
    place, held = aligned(1000)
    assert place % 64 == 0
    assert held.data_ptr() <= place and place + 1000 <= held.data_ptr() + held.numel()


def test_each_layer_gets_one_of_its_variants() -> None:
    """A dense linear layer has one form, which is taken untimed; a sparse one and a convolution have several."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 20), nn.Linear(20, 5)).eval()
    with torch.no_grad():
        net[2].weight.mul_(torch.rand(20, 48) < 0.1)
    machine, image = target_of("native"), torch.randn(1, 1, 4, 4)
    plan = plan_c(net, image, machine.vector_bytes, machine.registers)
    found = choose_kernels(plan, machine, image, seconds=0.001)
    assert set(found) == {index for index in range(len(plan.ops)) if plan.variants(index)}
    assert all(choice in plan.variants(index) for index, choice in found.items())
    assert sum(isinstance(choice, Shape) for choice in found.values()) == 1
    assert found[max(found)] == "rows"
