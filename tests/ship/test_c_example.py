import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunelle.data.task import Preprocessing
from prunelle.ship.c_example import main_c, pattern
from prunelle.ship.compiler import find_compiler
from prunelle.ship.native import build_native

FLAGS = ("-O1", "-std=gnu99", "-march=x86-64-v3", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror", "-Wno-psabi")
IMAGES = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)]
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("example")
    scaling = Preprocessing(mean=(0.25,), std=(0.5,))
    build_native(net(), IMAGES, made, name="five", target="x86-64-v3", preprocessing=scaling)
    return made


def compiled(folder: Path) -> Path:
    made = folder / "five"
    command = [*find_compiler(), *FLAGS, "-o", str(made), str(folder / "main.c"), str(folder / "five.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return made


def test_the_pattern_by_hand() -> None:
    """1103515245 + 12345 = 1103527590; its bits 8 to 23 are 50814; 50814 / 32768 - 1."""
    assert pattern(1).tolist() == [float(np.float32(50814 / 32768 - 1))]
    assert pattern(3)[:2].tolist() == pattern(2).tolist()


def test_the_example_compiles_without_a_warning_and_prints_each_class(folder: Path) -> None:
    done = subprocess.run([compiled(folder)], input=IMAGES.numpy().tobytes(), capture_output=True)
    with torch.inference_mode():
        expected = net()(IMAGES).argmax(1).tolist()
    assert done.returncode == 0 and [int(line) for line in done.stdout.split()] == expected


def test_the_self_test_finds_a_changed_number(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.suffix in (".c", ".h"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "five.c").read_text()
    at = text.index("expected = {{ ") + len("expected = {{ ")
    end = text.index(",", at)
    (tmp_path / "five.c").write_text(text[:at] + "1120403456" + text[end:])  # the bits of 100
    done = subprocess.run([compiled(tmp_path)], input="", capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "five: output 1 is not what it was when the network was written\n"


def test_the_header_tells_sizes_and_preprocessing(folder: Path) -> None:
    text = (folder / "five.h").read_text()
    for line in ("FIVE_CHANNELS 1", "FIVE_INPUTS 36", "FIVE_OUTPUTS 5", "FIVE_MEAN {0.25f}", "FIVE_STD {0.5f}"):
        assert f"#define {line}\n" in text
    assert "#include <stdio.h>" in main_c("five")
