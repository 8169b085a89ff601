import logging
import subprocess
import sys
import warnings

import pytest

from prunelle.ship.quiet import TELEMETRY, private, quiet


def test_talk_is_kept_back_and_afterwards_all_is_as_before(capfd):
    before = logging.root.manager.disable
    with quiet():
        print("progress")
        warnings.warn("advice", stacklevel=1)
        logging.getLogger("library").warning("more advice")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == before


def test_errors_come_through():
    with pytest.raises(ValueError, match="real"), quiet():
        raise ValueError("real")


def test_the_reporting_package_cannot_be_imported_while_private(monkeypatch):
    monkeypatch.delitem(sys.modules, TELEMETRY, raising=False)
    with private(), pytest.raises(ImportError):
        __import__(TELEMETRY)
    assert TELEMETRY not in sys.modules


def test_what_the_user_has_imported_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, TELEMETRY, logging)
    with private():
        assert sys.modules[TELEMETRY] is logging
    assert sys.modules[TELEMETRY] is logging


def test_openvino_and_nncf_leave_nothing_at_home(tmp_path):
    for module in ("openvino", "nncf"):
        pytest.importorskip(module)
    code = (
        "import torch; from torch import nn; from prunelle.ship.openvino import openvino;"
        "openvino(nn.Linear(2, 2), torch.zeros(1, 2), 1, 'int8', torch.rand(4, 2))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path), "PATH": ""}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
