"""What a configuration may have built: names of our own registry, some libraries' classes, and what is trusted."""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.run.place import CONF
from cam_lightning.run.trust import located, registry, require_plain


@pytest.fixture
def theirs() -> Iterator[None]:
    """A package of the user's, with a part of its own and others' functions in its reach."""
    package, module = types.ModuleType("their_package"), types.ModuleType("their_package.parts")
    package.__path__ = []  # type: ignore[attr-defined]
    exec("import os\nfrom shutil import copyfile\nclass Box:\n    def method(self): ...\n", module.__dict__)
    package.parts = module  # type: ignore[attr-defined]
    sys.modules |= {"their_package": package, "their_package.parts": module}
    yield
    del sys.modules["their_package"], sys.modules["their_package.parts"]


def test_what_our_yamls_name_is_trusted() -> None:
    assert located("cam_lightning.box.largest_component.LargestComponent") is LargestComponent
    assert "cam_lightning.method.acol.TwoBranches" in registry()
    assert not any(name.startswith("hydra") for name in registry())


def test_where_our_configuration_lies_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "hydra" / "conf"
    shutil.copytree(CONF, conf)
    expected = registry()
    monkeypatch.setattr("cam_lightning.run.trust.CONF", conf)
    assert registry.__wrapped__() == expected


def test_classes_of_the_libraries_that_parts_are_made_of_are_trusted() -> None:
    assert located("torch.optim.AdamW").__name__ == "AdamW"
    assert located("lightning.pytorch.callbacks.EarlyStopping").__name__ == "EarlyStopping"


@pytest.mark.parametrize(
    "target",
    [
        "builtins.open",
        "os.system",
        "posix.system",
        "subprocess.Popen",
        "shutil.copyfile",
        "sympy.sympify",
        "numpy.load",
        "torch.load",
        "torch.hub.load",
        "pickle.loads",
        "hydra.utils.instantiate",
        "cam_lightning.build.instantiate",
        # Of ours, but no part that a yaml names: these write files.
        "cam_lightning.run.directory.RunDirectory",
        "cam_lightning.dataset.tool.resize.resize",
        # By way of a module that a trusted one imports.
        "cam_lightning.run.directory.os.system",
        "cam_lightning.dataset.folder.Path.unlink",
        "torch.optim.adam.cast",
        "torch.optim.os.system",
        "torch.optim.optimizer.functools.partial",
        "lightning.pytorch.callbacks.checkpoint.Callback.__init__",
        "their_package.parts.Box",
    ],
)
def test_all_else_is_not(target: str, theirs: None) -> None:
    with pytest.raises((ValueError, ImportError), match=r"not trusted|no such|nothing that can be built"):
        located(target)


def test_a_name_that_is_not_trusted_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Part: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"evil_module.Part is not trusted.*trust=\[evil_module\]"):
        located("evil_module.Part")
    assert not (tmp_path / "ran").exists()
    assert located("evil_module.Part", ["evil_module"]).__name__ == "Part"
    assert (tmp_path / "ran").exists(), "the test can fail"


@pytest.mark.parametrize("target", [None, 3, "", "name", "a..b", "a.b c", "a.b()", ["a.b"]])
def test_what_is_no_name_is_said(target: object) -> None:
    with pytest.raises(ValueError, match="no dotted name"):
        located(target, ["a"])


def test_what_the_user_trusts_is_built_and_not_what_it_reaches(theirs: None) -> None:
    assert located("their_package.parts.Box", ["their_package"]).__name__ == "Box"
    assert located("their_package.parts.Box.method", ["their_package"]).__name__ == "method"
    for reached in ("os.system", "copyfile", "Box.__init__.__globals__"):
        with pytest.raises((ValueError, ImportError)):
            located(f"their_package.parts.{reached}", ["their_package"])
    with pytest.raises(ImportError, match="there is no such class or function"):
        located("their_package.parts.Nothing", ["their_package"])
    with pytest.raises(ValueError, match="not trusted"):
        located("their_package_2.parts.Box", ["their_package"])


def test_what_is_stored_is_resolved() -> None:
    require_plain({"a": [{"b": "x$y"}], "c": 3}, "it")
    with pytest.raises(ValueError, match=r"it holds an interpolation at a\[0\].b"):
        require_plain({"a": [{"b": "${oc.env:HOME}"}]}, "it")
