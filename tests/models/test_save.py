import json
import math
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch
from tiny import conv_net, mlp, same_bits, state_of
from torch import nn

from prunelle.data.task import Preprocessing
from prunelle.errors import CorruptFileError, DiskError, ModelError, UntrustedCodeError, WeightsError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.graph.cuts import Attribute, Cut, Cuts
from prunelle.measure.params import prunable
from prunelle.models import save as save_file
from prunelle.models.load import build
from prunelle.models.save import (
    MANIFEST,
    WEIGHTS,
    Builder,
    copy_saved,
    is_saved,
    load,
    read_folder,
    save,
    size_bytes,
)

LENET = Builder(spec="lenet_300_100", input_shape=[1, 8, 8], num_classes=10)


class Odd(nn.Module):
    """One of everything that a state may hold."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.rounded = nn.Parameter(torch.randn(40).bfloat16())
        self.special = nn.Parameter(torch.tensor([-0.0, math.nan, math.inf, 0.0, 1e-45] + 50 * [0.0]))
        self.long = nn.Parameter(torch.randn(2, dtype=torch.float64))
        self.register_buffer("scalar", torch.tensor(2.5))
        self.register_buffer("zero", torch.tensor(0.0))
        self.register_buffer("empty", torch.empty(0, 4))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("scratch", torch.ones(1), persistent=False)


def scrambled() -> Odd:
    """The same module with other values and, where floats are rounded away, other types."""
    other = Odd(seed=9)
    for name in ("rounded", "long"):
        setattr(other, name, nn.Parameter(getattr(other, name).float()))
    return other


def test_a_users_module_comes_back_bit_for_bit(tmp_path):
    model = Odd()
    save(model, tmp_path / "m")
    back = load(tmp_path / "m", model=scrambled())
    assert same_bits(state_of(back), state_of(model))
    assert back.second.weight is back.first.weight and not back.training
    assert read_folder(tmp_path / "m")[0].aliases == {"second.weight": "first.weight"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_a_builders_network_comes_back_bit_for_bit(tmp_path, sparsity, dtype):
    model = LENET.make()
    with torch.no_grad():
        for weight in prunable(model).values():
            weight[torch.rand_like(weight) < sparsity] = 0.0
    model = model.to(dtype)
    save(model, tmp_path / "m", builder=LENET)
    back = load(tmp_path / "m")
    assert same_bits(state_of(back), state_of(model))
    assert size_bytes(tmp_path / "m") == sum(f.stat().st_size for f in (tmp_path / "m").iterdir())
    if sparsity:
        assert size_bytes(tmp_path / "m") < 0.25 * model[1].weight.itemsize * sum(p.numel() for p in model.parameters())


def test_saving_and_loading_leave_the_global_generator_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    model = LENET.make()
    torch.manual_seed(1)
    save(model, tmp_path, builder=LENET)
    load(tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_preprocessing_and_class_names_travel(tmp_path):
    scaling = Preprocessing(mean=(0.1,), std=(0.3,), value_range=(0.0, 16.0))
    save(LENET.make(), tmp_path, builder=LENET, preprocessing=scaling, class_names=("a", "é"))
    manifest, _ = read_folder(tmp_path)
    assert manifest.preprocess() == scaling and manifest.class_names == ["a", "é"] and manifest.builder == LENET


def cut_lenet() -> tuple[nn.Module, Cuts]:
    """lenet_300_100 on 8x8 images with 3 hidden units of its first layer left."""
    model = LENET.make()
    kept = [5, 7, 200]
    smaller = build("lenet_300_100", input_shape=(1, 8, 8))
    smaller.fc1, smaller.fc2 = nn.Linear(64, 3), nn.Linear(3, 100)
    with torch.no_grad():
        smaller.fc1.weight.copy_(model.fc1.weight[kept])
        smaller.fc1.bias.copy_(model.fc1.bias[kept])
        smaller.fc2.weight.copy_(model.fc2.weight[:, kept])
    cuts = Cuts(
        tensors=[
            Cut(tensor="fc1.weight", axis=0, kept=kept),
            Cut(tensor="fc1.bias", axis=0, kept=kept),
            Cut(tensor="fc2.weight", axis=1, kept=kept),
        ],
        attributes=[
            Attribute(module="fc1", name="out_features", value=3),
            Attribute(module="fc2", name="in_features", value=3),
        ],
    )
    return smaller, cuts


@pytest.mark.parametrize("theirs", [True, False])
def test_cuts_are_replayed_on_a_builders_module_and_on_a_users(tmp_path, theirs):
    smaller, cuts = cut_lenet()
    save(smaller, tmp_path, builder=None if theirs else LENET, cuts=cuts)
    back = load(tmp_path, model=LENET.make() if theirs else None)
    assert same_bits(state_of(back), state_of(smaller)) and back.fc1.out_features == 3
    image = torch.randn(2, 1, 8, 8)
    assert torch.equal(back(image), smaller.eval()(image))


def test_a_users_module_of_another_shape_is_refused(tmp_path):
    save(mlp(), tmp_path)
    with pytest.raises(WeightsError, match=r"0.weight is absent in the file and \(4, 2, 3, 3\) in the module; give"):
        load(tmp_path, model=conv_net())
    with pytest.raises(ModelError, match=r"was saved from a module of yours; pass that module: load\(folder, model="):
        load(tmp_path)


def test_whole_numbers_for_a_float_are_refused(tmp_path):
    class Counts(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.register_buffer("x", value)

    save(Counts(torch.tensor([1, 2])), tmp_path)
    with pytest.raises(WeightsError, match=r"x is torch.int64 in the file and torch.float32 in the module"):
        load(tmp_path, model=Counts(torch.zeros(2)))


def test_a_state_that_is_no_tensor_is_refused(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

        def set_extra_state(self, state): ...

    with pytest.raises(ModelError, match="_extra_state: is a dict in the model's state, only tensors can be saved"):
        save(Extra(1, 1), tmp_path)


def test_a_long_sparse_tensor_can_be_saved(tmp_path):
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(2**20 + 1, dtype=torch.float16))

    model = Long()
    with torch.no_grad():
        model.table[5] = 2.0
    save(model, tmp_path)
    assert same_bits(state_of(load(tmp_path, model=Long())), state_of(model))


def two_models(tmp_path):
    """(folder with the first, state of the first, folder with the second, state of the second)."""
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = build("lenet_300_100", input_shape=(1, 8, 8))
        save(model, tmp_path / str(seed), builder=LENET)
        found += [tmp_path / str(seed), state_of(model)]
    return found


def test_a_kill_between_the_two_renames_still_loads(tmp_path):
    old, _, new, second = two_models(tmp_path)
    shutil.copy(new / MANIFEST, old / f"{MANIFEST}.next")
    shutil.copy(new / WEIGHTS, old / WEIGHTS)  # renamed; model.json is still the old one
    assert same_bits(state_of(load(old)), second)
    assert size_bytes(old) == size_bytes(new)
    copy_saved(old, tmp_path / "copy")
    assert same_bits(state_of(load(tmp_path / "copy")), second)


def test_a_kill_before_the_renames_leaves_the_old_model(tmp_path):
    old, first, new, _ = two_models(tmp_path)
    for name in (MANIFEST, WEIGHTS):
        shutil.copy(new / name, old / f"{name}.next")
    assert same_bits(state_of(load(old)), first)


def test_a_first_save_killed_between_its_renames_loads(tmp_path):
    _, _, new, second = two_models(tmp_path)
    (new / MANIFEST).rename(new / f"{MANIFEST}.next")
    assert is_saved(new) and same_bits(state_of(load(new)), second)
    assert size_bytes(new) > 0


def test_every_interruption_of_a_save_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    """Two saves in a row, each stopped at any of its file operations."""

    class Killed(BaseException):
        pass

    torch.manual_seed(0)
    models = [build("lenet_300_100", input_shape=(1, 8, 8)) for _ in range(3)]
    states = [state_of(model) for model in models]
    for first in range(6):
        for second in range(6):
            folder = tmp_path / f"{first}-{second}"
            save(models[0], folder, builder=LENET)
            possible = [0]
            for number, stop in ((1, first), (2, second)):
                left = [stop]

                def falling(function, left=left):
                    def call(*args, **kwargs):
                        if left[0] == 0:
                            raise Killed
                        left[0] -= 1
                        return function(*args, **kwargs)

                    return call

                with monkeypatch.context() as patch:
                    for name in ("atomic_write", "write_sealed_json", "sync_folder"):
                        patch.setattr(save_file, name, falling(getattr(save_file, name)))
                    patch.setattr(save_file.os, "replace", falling(save_file.os.replace))
                    with suppress(Killed):
                        save(models[number], folder, builder=LENET)
                possible.append(number)
                found = state_of(load(folder))
                assert any(same_bits(found, states[one]) for one in possible)


def test_replacing_a_model_leaves_two_files(tmp_path):
    for _ in range(2):
        save(LENET.make(), tmp_path / "m", builder=LENET)
    copy_saved(tmp_path / "m", tmp_path / "deep" / "copy")
    for folder in (tmp_path / "m", tmp_path / "deep" / "copy"):
        assert sorted(entry.name for entry in folder.iterdir()) == [MANIFEST, WEIGHTS]


def test_damage_is_found(tmp_path):
    save(LENET.make(), tmp_path, builder=LENET)
    generator = np.random.default_rng(0)
    for name, complaint in ((WEIGHTS, "does not match the SHA-256"), (MANIFEST, "do not match its own SHA-256")):
        raw = (tmp_path / name).read_bytes()
        for position in generator.integers(0, len(raw), 20):
            (tmp_path / name).write_bytes(raw[:position] + bytes([raw[position] ^ 16]) + raw[position + 1 :])
            with pytest.raises(CorruptFileError, match=complaint):
                load(tmp_path)
        for length in (0, 7, len(raw) - 1):
            (tmp_path / name).write_bytes(raw[:length])
            with pytest.raises(CorruptFileError):
                load(tmp_path)
        (tmp_path / name).write_bytes(raw)
    load(tmp_path)
    with pytest.raises(CorruptFileError, match=r"holds no model.json; give a folder that prunelle saved a model in"):
        load(tmp_path / "absent")


def test_a_folder_that_is_a_file_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="could not be written"):
        save(LENET.make(), tmp_path / "file", builder=LENET)


def test_a_users_file_is_code_and_needs_trust(tmp_path):
    mark, file = tmp_path / "ran", tmp_path / "net.py"
    file.write_text(f"from torch import nn\ndef make():\n    open({str(mark)!r}, 'w')\n    return nn.Linear(64, 10)\n")
    builder = Builder(spec=f"{file}:make", input_shape=[1, 1, 64], num_classes=10)
    model = nn.Linear(64, 10)
    save(model, tmp_path / "m", builder=builder)
    with pytest.raises(UntrustedCodeError, match="pass --trust if you trust that file"):
        load(tmp_path / "m")
    assert not mark.exists()
    assert same_bits(state_of(load(tmp_path / "m", trust=True)), state_of(model)) and mark.exists()


def rewritten(folder, **changed) -> None:
    """model.json with other values under a valid seal, as only a hostile writer makes it."""
    values = read_sealed_json(folder / MANIFEST)
    write_sealed_json(folder / MANIFEST, values | changed)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ({"spec": "lenet_300_100", "input_shape": [2**20] * 3, "num_classes": 10}, "its builder cannot be built"),
        ({"spec": "lenet_300_100", "input_shape": [2**10] * 3, "num_classes": 10}, "makes over 2147483648 parameters"),
        ({"spec": "lenet_300_100", "input_shape": [1, 8, 8], "num_classes": 2**24}, "is .* in the file and"),
    ],
)
def test_an_outsized_builder_is_refused_without_memory(tmp_path, builder, message):
    save(LENET.make(), tmp_path, builder=LENET)
    rewritten(tmp_path, builder=builder)
    with pytest.raises((CorruptFileError, WeightsError), match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"packed": {"fc1.weight": [0]}}, "packed.fc1.weight.0: Input should be greater than or equal to 1"),
        ({"builder": {"spec": "lenet5"}}, "builder.input_shape: Field required"),
        ({"preprocessing": {"mean": []}}, "preprocessing: .* lacks a field"),
        ({"class_names": "ab"}, "class_names: Input should be a valid list"),
    ],
)
def test_fields_are_checked_one_by_one(tmp_path, changed, message):
    save(LENET.make(), tmp_path, builder=LENET)
    rewritten(tmp_path, **changed)
    with pytest.raises(CorruptFileError, match=message):
        load(tmp_path)


def test_a_dense_file_is_a_checkpoint_like_any_other(tmp_path):
    from safetensors.torch import load_file

    model = LENET.make()
    save(model, tmp_path, builder=LENET)
    assert same_bits(load_file(tmp_path / WEIGHTS), state_of(model))
    assert set(json.loads((tmp_path / MANIFEST).read_text())) >= {"seal", "builder", "cuts", "files"}
