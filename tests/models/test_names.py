import subprocess
import sys

import pytest

from prunelle.errors import MissingExtraError, ModelError, UntrustedCodeError
from prunelle.models import names
from prunelle.models.names import TABLE, ModelSpec, check_spec


def test_a_name_is_checked_without_torch():
    code = (
        "import sys\n"
        "from prunelle.models.names import check_spec\n"
        "check_spec('resnet20')\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_specs_are_taken_apart(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("")
    assert check_spec("resnet20") == ModelSpec("name", "resnet20")
    assert check_spec(f"{file}:make", trust=True) == ModelSpec("file", str(file), "make")


def test_an_unknown_name_is_answered_with_the_closest_and_all():
    with pytest.raises(ModelError) as caught:
        check_spec("shufflenetv2")
    text = str(caught.value)
    assert text.startswith("'shufflenetv2': no model of this name, did you mean 'shufflenet_v2'")
    assert all(name in text for name in TABLE)
    assert "\n" not in text and caught.value.exit_code == 2


@pytest.mark.parametrize("spec", ["", "xyzzy", "resnet20:make", "a/b", "timm", ":", ".py:", "x.py:", "x.py", "x.py:1a"])
def test_nonsense_is_refused(spec):
    with pytest.raises(ModelError):
        check_spec(spec, trust=True)


def test_a_file_needs_trust_before_anything_else(tmp_path):
    with pytest.raises(UntrustedCodeError, match=r"building it runs the code in no\.py; pass --trust"):
        check_spec("no.py:make")
    with pytest.raises(ModelError, match=r"there is no file no.py; check the path"):
        check_spec("no.py:make", trust=True)
    with pytest.raises(ModelError, match=r"does not name a function; pass net.py:factory"):
        check_spec("net.py")


def test_timm_names_need_timm(monkeypatch):
    monkeypatch.setattr(names, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"timm is not installed; pip install prunelle\[vision\]"):
        check_spec("timm:resnet18")
    with pytest.raises(ModelError, match="names no model"):
        check_spec("timm:")
