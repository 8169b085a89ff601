import ctypes
import subprocess
import sys
from importlib.util import find_spec

import pytest

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship import compiler
from prunelle.ship.compiler import TARGETS, Target, compile_c, find_compiler, first_error, runs_here, target_of

SOURCE = "int twice(int x) { return 2 * x; }\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and no CC from outside."""
    monkeypatch.setenv("PRUNELLE_CACHE", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    compiler.native_macros.cache_clear()
    yield tmp_path / "native"
    compiler.native_macros.cache_clear()


@pytest.fixture
def calls(monkeypatch):
    """Commands that make a library; --version and -dM are no such."""
    made, run = [], subprocess.run

    def watched(command, **more):
        if "-o" in command:
            made.append(command)
        return run(command, **more)

    monkeypatch.setattr(compiler.subprocess, "run", watched)
    return made


def need_compiler():
    try:
        find_compiler()
    except MissingExtraError as error:
        pytest.skip(str(error))


def without_compilers(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda word: None)
    monkeypatch.setattr(compiler, "find_spec", lambda word: None)


def test_the_same_source_is_compiled_once(cache, calls):
    need_compiler()
    first = compile_c(SOURCE, target_of("native"), ())
    second = compile_c(SOURCE, target_of("native"), ())
    assert first == second and len(calls) == 1
    assert list(cache.iterdir()) == [first]


def test_another_source_or_other_flags_make_another_file(cache, calls):
    need_compiler()
    plain = target_of("native")
    other = Target("native", plain.vector_bytes, plain.registers, ("-DX=1",), (*plain.zig, "-DX=1"))
    made = {compile_c(SOURCE, plain, ()), compile_c(SOURCE, other, ()), compile_c(SOURCE + "\n", plain, ())}
    assert len(made) == len(calls) == 3 and set(cache.iterdir()) == made


def test_what_is_made_can_be_loaded():
    need_compiler()
    assert ctypes.CDLL(str(compile_c(SOURCE, target_of("native"), ()))).twice(21) == 42


@pytest.mark.parametrize("damage", [lambda code: b"", lambda code: code[: len(code) // 2], lambda code: code + b"\0"])
def test_a_damaged_library_in_the_cache_is_built_anew(cache, calls, damage):
    need_compiler()
    made = compile_c(SOURCE, target_of("native"), ())
    whole = made.read_bytes()
    made.write_bytes(damage(whole))
    again = compile_c(SOURCE, target_of("native"), ())
    assert len(calls) == 2 and again.read_bytes()[:4] == whole[:4] and list(cache.iterdir()) == [again]
    assert ctypes.CDLL(str(again)).twice(21) == 42
    assert compile_c(SOURCE, target_of("native"), ()) == again and len(calls) == 2


def test_a_source_that_does_not_compile_leaves_nothing(cache):
    need_compiler()
    with pytest.raises(WorkError, match=r"^compiler: .* failed \(.*error.*\); set CC to another compiler\.$"):
        compile_c("int twice(int x) { return 2 * y; }", target_of("native"), ())
    assert list(cache.iterdir()) == []


def test_an_unknown_target_is_refused_by_name():
    words = "native, x86-64-v3, aarch64-linux, wasm32-wasi"
    with pytest.raises(SettingError, match=rf"^target: there is no 'riscv', the words are {words}\.$"):
        target_of("riscv")


def test_without_any_compiler_the_extra_is_named(monkeypatch):
    without_compilers(monkeypatch)
    with pytest.raises(MissingExtraError) as caught:
        find_compiler()
    assert str(caught.value) == (
        "compiler: there is no C compiler (cc, gcc or clang); pip install 'prunelle[compiler]'."
    )
    with pytest.raises(MissingExtraError, match="there is no C compiler"):
        target_of("native")


def test_another_machine_needs_zig_even_where_there_is_a_compiler(monkeypatch):
    monkeypatch.setattr(compiler, "find_spec", lambda word: None)
    with pytest.raises(MissingExtraError) as caught:
        compile_c(SOURCE, TARGETS["wasm32-wasi"], ("twice",))
    assert str(caught.value) == ("compiler: code for another machine needs ziglang; pip install 'prunelle[compiler]'.")


def test_x86_is_another_machine_on_arm(monkeypatch):
    monkeypatch.setattr(compiler.platform, "machine", lambda: "aarch64")
    assert [runs_here(name) for name in ("native", *TARGETS)] == [True, False, True, False]
    monkeypatch.setattr(compiler, "find_spec", lambda word: None)
    with pytest.raises(MissingExtraError, match="code for another machine needs ziglang"):
        compile_c(SOURCE, TARGETS["x86-64-v3"], ())


def test_cc_is_honoured(tmp_path, monkeypatch, calls):
    need_compiler()
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "mine"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\nexec {" ".join(find_compiler())} "$@"\n')
    wrapper.chmod(0o755)
    by_default = compile_c(SOURCE, target_of("native"), ())
    monkeypatch.setenv("CC", f"{wrapper} -DMINE=1")
    assert find_compiler() == (str(wrapper), "-DMINE=1")
    by_wrapper = compile_c(SOURCE, target_of("native"), ())
    assert by_wrapper != by_default and calls[-1][:2] == [str(wrapper), "-DMINE=1"]
    assert "-DMINE=1 -O3" in (tmp_path / "told").read_text()


def test_a_cc_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("CC", "nosuchcc -O2")
    with pytest.raises(SettingError) as caught:
        find_compiler()
    assert str(caught.value) == "CC: there is no 'nosuchcc' to run, must be a C compiler; correct CC or unset it."


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'broken: error: no licence' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(WorkError) as caught:
        target_of("native")
    expected = f"compiler: {broken} does not run (broken: error: no licence); set CC to another."
    assert str(caught.value) == expected


@pytest.mark.skipif(find_spec("ziglang") is None, reason="no zig: pip install 'prunelle[compiler]'")
def test_zig_stands_in_where_there_is_no_compiler(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda word: None)
    assert find_compiler() == (sys.executable, "-m", "ziglang", "cc") == find_compiler(foreign=True)
    made = compile_c(SOURCE, TARGETS["wasm32-wasi"], ("twice",))
    assert made.suffix == ".wasm" and made.read_bytes()[:4] == b"\0asm"


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("a.c: note: x\n a.c:1: error: y\nerror: z", "a.c:1: error: y"),
        ("killed\nby hand", "killed"),
        ("", "no message"),
        ("error " + "x" * 300, "error " + "x" * 194),
    ],
)
def test_the_first_error_is_told(said, first):
    assert first_error(said) == first
