import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.errors import CorruptFileError, ModelError, SettingError, ShapeError, UntrustedCodeError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.ship import processor
from prunelle.ship.compiler import native_macros
from prunelle.ship.native import Native, build_native, load_native


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval()


IMAGES = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("native")
    build_native(small(), IMAGES, made, target="x86-64-v3")
    return made


def test_the_library_is_the_network(folder: Path) -> None:
    found = load_native(folder)(IMAGES)
    with torch.inference_mode():
        expected = small()(IMAGES)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_one_image_and_a_batch_give_the_same_bits(folder: Path) -> None:
    net = load_native(folder)
    assert torch.equal(torch.cat([net(image[None]) for image in IMAGES]), net(IMAGES))
    assert net(IMAGES[:0]).shape == (0, 3)
    assert torch.equal(net(IMAGES.to(memory_format=torch.channels_last)), net(IMAGES))


def test_a_weight_by_hand(tmp_path: Path) -> None:
    net = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        net.weight.fill_(3.0), net.bias.fill_(-1.0)
    build_native(net, torch.ones(1, 1, 2, 2), tmp_path, name="three", target="x86-64-v3")
    assert load_native(tmp_path)(torch.full((1, 1, 2, 2), 2.0)).flatten().tolist() == [5.0] * 4
    assert {path.name for path in tmp_path.iterdir()} == {"three.c", "three.h", "main.c", "three.so", "native.json"}


def test_an_answer_made_in_inference_mode_leaves_later_ones_free(folder: Path) -> None:
    net = load_native(folder)
    with torch.inference_mode():
        net(IMAGES[:1])
    later = net(IMAGES[:1])
    assert not later.is_inference() and torch.equal(later.mul_(1), net(IMAGES[:1]))


def test_a_bound_call_reads_and_writes_the_tensors_it_was_given(folder: Path) -> None:
    net, image, out = load_native(folder), IMAGES[:1].clone(), torch.empty(1, 3)
    call = net.bind(image, out)
    call()
    assert torch.equal(out, net(image))
    image.copy_(IMAGES[1:2])
    call()
    assert torch.equal(out, net(IMAGES[1:2]))


def test_only_fitting_tensors_are_bound(folder: Path) -> None:
    with pytest.raises(ShapeError, match=r"bind was given \(2, 3\).*must be \(1, 3\)"):
        load_native(folder).bind(IMAGES[:1], torch.empty(2, 3))


def test_threads_do_not_share_a_workspace(folder: Path) -> None:
    net = load_native(folder)
    expected, wrong = net(IMAGES), list[int]()

    def work(which: int) -> None:
        for _ in range(200):
            if not torch.equal(net(IMAGES[which : which + 1])[0], expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("copied", (copy.copy, copy.deepcopy))
def test_a_copy_has_its_own_workspace_on_the_same_library(folder: Path, copied: Callable[[Native], Native]) -> None:
    net = load_native(folder).eval()
    expected = net(IMAGES)
    other = copied(net)
    assert type(other) is Native and other is not net and not other.training
    assert other.workspace() != net.workspace()
    assert torch.equal(other(IMAGES), expected) and torch.equal(net(IMAGES), expected)
    first, second = copy.deepcopy([net, net])
    assert first is second is not net


def test_a_library_is_not_pickled(folder: Path, tmp_path: Path) -> None:
    net = load_native(folder)
    expected = "native: a library is code and is not pickled; hand on its folder, and open that with load_native."
    for save in (pickle.dumps, lambda one: torch.save(one, tmp_path / "net.pt")):
        with pytest.raises(UntrustedCodeError) as caught:
            save(net)
        assert str(caught.value) == expected


@pytest.mark.parametrize("images", (IMAGES[:, :1], IMAGES[..., :7], IMAGES.double(), IMAGES[0]))
def test_other_images_are_refused(folder: Path, images: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"must be \(batch, 2, 8, 8\) torch.float32 on cpu"):
        load_native(folder)(images)


def test_a_library_that_was_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    library = tmp_path / "net.so"
    library.write_bytes(library.read_bytes() + b"\0")
    with pytest.raises(CorruptFileError, match="not the library that"):
        load_native(tmp_path)
    library.unlink()
    with pytest.raises(CorruptFileError, match="is missing"):
        load_native(tmp_path)


def test_another_machines_library_is_refused(folder: Path, tmp_path: Path) -> None:
    record = read_sealed_json(folder / "native.json")
    (tmp_path / "net.so").write_bytes((folder / "net.so").read_bytes())
    plain = {key: value for key, value in record.items() if not key.startswith("seal")}
    write_sealed_json(tmp_path / "native.json", {**plain, "target": "aarch64-linux"})
    with pytest.raises(SettingError, match="was built for aarch64-linux, which cannot run here"):
        load_native(tmp_path)


def test_a_library_that_needs_a_newer_processor_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : sse2 avx")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    with pytest.raises(SettingError, match=r"native\d*: needs a processor with abm, avx2, .*, which this one has not"):
        load_native(folder)


def test_a_library_for_this_machine_says_what_it_needs(tmp_path: Path) -> None:
    build_native(nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2), tmp_path)
    needs = set(read_sealed_json(tmp_path / "native.json")["needs"])
    assert needs <= (processor.features_here() or needs)
    assert ("avx512f" in needs) == ("__AVX512F__" in native_macros())
    load_native(tmp_path)


def test_a_record_that_says_too_little_is_refused(folder: Path, tmp_path: Path) -> None:
    record = {key: value for key, value in read_sealed_json(folder / "native.json").items() if key != "target"}
    write_sealed_json(tmp_path / "native.json", record)
    with pytest.raises(CorruptFileError, match=r"native\.json: says nothing of target; build the library again\.$"):
        load_native(tmp_path)


def test_names_and_operators_that_c_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'my-net' is no C identifier"):
        build_native(small(), IMAGES, tmp_path, name="my-net")
    with pytest.raises(ModelError, match="operator elu in 1 has no rule for C; ship it as onnx"):
        build_native(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ELU()), IMAGES, tmp_path)
    with pytest.raises(SettingError, match="int16 is fitted to images"):
        build_native(small(), IMAGES, tmp_path, precision="int16")
    assert not (tmp_path / "native.json").exists()
