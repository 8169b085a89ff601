"""The C of small networks under every tool that is here; benchmarks/portable.py does the same with whole networks."""

import shutil
from pathlib import Path

import portable_checks as checks
import pytest
import torch
from tiny import seeded
from torch import nn
from torch.nn import functional as F

from prunelle.errors import ModelError
from prunelle.ship.native import build_native, load_native

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(12, 3, 14, 14, generator=torch.Generator().manual_seed(5))


class Mixed(nn.Module):
    """3x3, strided, depthwise, 5x5 and 1x1 convolutions, both pools, a channel shuffle, a concat, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.strided = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide, self.point = nn.Conv2d(4, 6, 5, padding=2), nn.Conv2d(14, 12, 1)
        self.last = nn.Linear(108, 10)

    def features(self, x):
        x = F.relu(self.norm(self.first(x)))
        y = F.relu(self.strided(x))
        z = self.depthwise(y) + F.max_pool2d(x, 3, 2, 1)
        z = z.view(len(z), 2, 4, 7, 7).transpose(1, 2).reshape(len(z), 8, 7, 7)
        left, right = z.chunk(2, 1)
        return self.point(torch.cat([F.relu6(self.wide(left)), F.relu(right), y[:, :4]], 1))

    def forward(self, x):
        return self.last(F.avg_pool2d(F.relu(self.features(x)), 2).flatten(1))


class Gated(Mixed):
    """The same with squeeze and excitation, hard swish, a mean over the image and softmax."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.excite, self.last = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1), nn.Linear(12, 10)

    def forward(self, x):
        x = F.hardswish(self.features(x))
        x = x * F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.last(x.mean((2, 3))).softmax(1)


def thinned(model):
    """Six in ten weights at zero, batch norm that has seen something, and answers that differ from image to image."""
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= torch.rand(weight.shape, generator=chance) > 0.6
        model.norm.running_mean.normal_(0, 0.3, generator=chance)
        model.norm.running_var.uniform_(0.5, 2, generator=chance)
        before = model.eval()(IMAGES)
        model.last.bias -= (before.log() if before.min() > 0 else before).mean(0)
    return model


class Folders:
    """Shipped folders, each built once: a pair of a network's name and a precision, and a target."""

    def __init__(self, root: Path):
        self.root = root
        self.models = {"mixed": thinned(seeded(Mixed)), "gated": thinned(seeded(Gated))}

    def __call__(self, net: str, precision: str = "fp32", target: str = "x86-64-v3") -> Path:
        folder = self.root / f"{net}-{precision}-{target}"
        if not folder.exists():
            calibration = IMAGES if precision == "int16" else None
            build_native(self.models[net], IMAGES, folder, precision=precision, target=target, calibration=calibration)
        return folder

    def expected(self, net: str) -> list[int]:
        with torch.inference_mode():
            return self.models[net](IMAGES).argmax(1).tolist()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNELLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CC", raising=False)
        yield Folders(tmp_path_factory.mktemp("shipped"))


def need(*tools):
    for tool in tools:
        if reason := checks.absent(tool):
            pytest.skip(reason)


forms = pytest.mark.parametrize(("net", "precision"), [("mixed", "int16"), ("gated", "fp32")])
plain = pytest.mark.parametrize(("net", "precision"), [("mixed", "int16"), ("mixed", "fp32")])


@pytest.mark.parametrize(("net", "precision"), [("mixed", "int16"), ("mixed", "fp32"), ("gated", "fp32")])
def test_the_c_gives_the_classes_of_the_network(folders, net, precision):
    """Ten classes would agree on twelve images by chance once in 10^12."""
    out = load_native(folders(net, precision))(IMAGES)
    assert out.argmax(1).tolist() == folders.expected(net) and len(set(folders.expected(net))) > 2


@forms
def test_gcc_says_nothing_and_the_program_gives_the_same_classes(folders, tmp_path, net, precision):
    """The machine's own flags without linking, then a program for x86-64-v3, main.c's output on top."""
    need("gcc")
    folder, words = folders(net, precision), ("gcc", *checks.machine_flags("x86-64-v3", "gcc"))
    assert checks.warnings_of(folder, "gcc", "native", ("-O1",)) == ""
    assert checks.compiled_and_run(folder, tmp_path / "program", words, (), IMAGES, folders.expected(net)) == ""


@pytest.mark.parametrize("target", ["x86-64-v3", "wasm32-wasi"])
@forms
def test_zig_says_nothing(folders, net, precision, target):
    need("zig")
    assert checks.warnings_of(folders(net, precision, target), "zig", target, ("-O1",)) == ""


def test_a_warning_would_be_seen(folders, tmp_path):
    need("gcc")
    spoilt = Path(shutil.copytree(folders("mixed"), tmp_path / "spoilt"))
    with (spoilt / "net.c").open("a") as file:
        file.write("static int never(void) { return 1; }\n")
    assert "never" in checks.warnings_of(spoilt, "gcc", "x86-64-v3", ("-O0",))


@forms
def test_sanitizers_and_garbage(folders, tmp_path, net, precision):
    need("gcc")
    said = checks.strict_run(folders(net, precision), tmp_path / "strict", IMAGES, folders.expected(net), ("-O0",))
    assert said == ""


def test_a_write_behind_the_workspace_would_be_seen(folders, tmp_path):
    need("gcc")
    spoilt = Path(shutil.copytree(folders("mixed"), tmp_path / "spoilt"))
    header = (spoilt / "net.h").read_text()
    size = load_native(spoilt).record["workspace_bytes"]
    (spoilt / "net.h").write_text(header.replace(f"BYTES {size}", f"BYTES {size // 2}"))
    said = checks.strict_run(spoilt, tmp_path / "strict", IMAGES[:1], [], ("-O0",))
    assert "AddressSanitizer: heap-buffer-overflow" in said


@forms
def test_what_the_workspace_held_does_not_matter(folders, net, precision):
    assert checks.garbage_changes(folders(net, precision), IMAGES) == ""


@forms
def test_threads_at_once_give_what_one_gives(folders, tmp_path, net, precision):
    need("gcc", "nm")
    assert checks.threads_disturb(folders(net, precision), IMAGES) == ""
    assert checks.writable_data(folders(net, precision), tmp_path / "net.o") == ""


@pytest.mark.parametrize(("precision", "main"), [("fp32", checks.JUDGE), ("int16", None)])
def test_valgrind_finds_nothing(folders, tmp_path, precision, main):
    """A program whose workspace is as malloc gives it, and the shipped main.c."""
    need("gcc", "valgrind")
    folder, images, expected = folders("mixed", precision), IMAGES[:2], folders.expected("mixed")[:2]
    assert checks.valgrind_run(folder, tmp_path / "program", images, expected, main) == ""


@forms
def test_zig_says_nothing_for_arm_which_gives_the_same_classes(folders, tmp_path, net, precision):
    need("zig")
    folder = folders(net, precision, "aarch64-linux")
    assert checks.program(folder, tmp_path / "arm", (*checks.ZIG, *checks.FLAGS, *checks.STATIC_AARCH64)) == ""
    need("qemu-aarch64")
    found, said = checks.classes(("qemu-aarch64", str(tmp_path / "arm")), IMAGES)
    assert said == "" and found == folders.expected(net)


@forms
def test_wasm_gives_the_same_classes(folders, net, precision):
    """node runs the shipped file as a web page would."""
    need("zig")
    folder = folders(net, precision, "wasm32-wasi")
    assert checks.wasm_magic(folder) == ""
    need("node")
    assert checks.wasm_run(folder, IMAGES, folders.expected(net)) == ""


@plain
def test_the_self_test_finds_an_altered_weight(folders, tmp_path, net, precision):
    """The bias of class 3: + 1 as it is written, four bytes in the middle of the file."""
    need("gcc")
    folder, program = Path(shutil.copytree(folders(net, precision), tmp_path / "altered")), tmp_path / "program"
    words = ("gcc", *checks.machine_flags("x86-64-v3", "gcc"), "-O0")
    bias = folders.models[net].last.bias.detach()
    before, after = (str(int((bias[3] + more).view(torch.int32)) & 0xFFFFFFFF) for more in (0, 1))
    text = (folder / "net.c").read_text()
    assert text.count(f" {before},") == 1
    (folder / "net.c").write_text(text.replace(f" {before},", f" {after},"))
    said = checks.compiled_and_run(folder, program, words, (), IMAGES, [])
    assert said == "exit 1: net: output 4 is not what it was when the network was written"


def test_a_module_whose_name_ends_a_comment_is_harmless(tmp_path, folders):
    net = nn.Sequential()
    net.add_module("*/ int x = y; /*", nn.Conv2d(3, 4, 3))
    net.add_module("flat", nn.Flatten())
    build_native(seeded(lambda: net), IMAGES, tmp_path, target="x86-64-v3")
    torch.testing.assert_close(load_native(tmp_path)(IMAGES[:2]), net(IMAGES[:2]), rtol=1e-4, atol=1e-5)


def test_int16_refuses_what_it_has_no_form_of(folders):
    with pytest.raises(ModelError, match=r"^native: int16 has no hardswish; take fp32\.$"):
        folders("gated", "int16")


def test_another_machines_folder_is_not_loaded(folders):
    need("zig")
    with pytest.raises(Exception, match="was built for wasm32-wasi, which cannot run here; build it for native"):
        load_native(folders("mixed", "fp32", "wasm32-wasi"))
