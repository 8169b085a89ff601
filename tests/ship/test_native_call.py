"""One image takes a shorter path into the library than a module's call: what must be the same on it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from prunelle.errors import ShapeError
from prunelle.ship.native import Native, build_native, load_native

IMAGES = torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Native:
    """Three times an image less one."""
    model = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        model.weight.fill_(3.0), model.bias.fill_(-1.0)
    folder = tmp_path_factory.mktemp("native")
    build_native(model, IMAGES, folder, target="x86-64-v3")
    return load_native(folder)


def test_every_answer_is_a_tensor_of_its_own(net: Native) -> None:
    images = IMAGES[torch.arange(600) % len(IMAGES)].split(1)
    answers = [net(image) for image in images]
    assert len({answer.data_ptr() for answer in answers}) == 600
    for image, answer in zip(images, answers, strict=True):
        assert torch.allclose(answer, 3 * image - 1)
    answers[0].zero_()
    assert torch.allclose(answers[1], 3 * images[1] - 1)


@pytest.mark.parametrize("num", [1, 3])
def test_answers_are_float32_whatever_torch_makes_by_default(net: Native, num: int) -> None:
    fresh = Native(net._library, net.record)  # which has no answers made before
    torch.set_default_dtype(torch.float64)
    try:
        found = fresh(IMAGES[:num])
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.allclose(found, 3 * IMAGES[:num] - 1)


def test_hooks_run_and_may_change_what_goes_in_and_out(net: Native) -> None:
    one = torch.full((1, 1, 2, 2), 2.0)
    before = net.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    after = net.register_forward_hook(lambda module, given, out: out * 10)
    assert net(one).flatten().tolist() == [80.0] * 4
    before.remove()
    assert net(one).flatten().tolist() == [50.0] * 4
    after.remove()
    assert net(one).flatten().tolist() == [5.0] * 4


def test_hooks_of_all_modules_run(net: Native) -> None:
    seen: list[str] = []
    before = register_module_forward_pre_hook(lambda module, given: seen.append("before"))
    after = register_module_forward_hook(lambda module, given, out: seen.append("after"))
    net(IMAGES[:1])
    before.remove(), after.remove()
    net(IMAGES[:1])
    assert seen == ["before", "after"]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (torch.zeros(1, 1, 2, 3), "(1, 1, 2, 3)"),
        (torch.zeros(1, 2, 2), "(1, 2, 2)"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.float64), "torch.float64"),
        (torch.zeros(1, 1, 2, 2, device="meta"), "meta"),
    ],
)
def test_what_is_no_such_image_is_refused(net: Native, image: Tensor, told: str) -> None:
    with pytest.raises(ShapeError, match=r"native: images are .*must be \(batch, 1, 2, 2\) torch.float32 on cpu") as e:
        net(image)
    assert told in str(e.value)


def test_an_image_that_lies_otherwise_gives_the_same(net: Native) -> None:
    turned = IMAGES[:1].transpose(2, 3)
    assert not turned.is_contiguous()
    assert torch.equal(net(turned), net(turned.contiguous()))


def test_a_forward_that_is_called_by_itself_and_a_call_agree(net: Native) -> None:
    assert torch.equal(net.forward(IMAGES[:1]), net(IMAGES[:1]))


def test_an_image_that_wants_a_gradient_gets_a_plain_answer(net: Native) -> None:
    answer = net(IMAGES[:1].clone().requires_grad_())
    assert not answer.requires_grad and torch.allclose(answer, 3 * IMAGES[:1] - 1)


def test_threads_do_not_mix_up_their_answers(net: Native) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(net, IMAGES.split(1)))
    assert torch.allclose(torch.cat(answers), 3 * IMAGES - 1)
