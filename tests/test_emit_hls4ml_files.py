"""Where hls4ml projects are written, and what is never lost."""

from __future__ import annotations

import os

import numpy as np
import pytest
from firmware_cases import X10, needs_compiler, small

import shadowprune as sp

pytest.importorskip("hls4ml")


def listing(path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}


@needs_compiler
def test_relative_paths_survive_a_change_of_directory(tmp_path, monkeypatch):
    (tmp_path / "my work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "my work")
    model = sp.emit.hls4ml(small(), "new folder/prj µ", X10, backend="Quartus")
    monkeypatch.chdir(tmp_path / "elsewhere")
    model.compile()
    assert model.predict(X10.astype(np.float32)).shape == (300, 1)
    assert not listing(tmp_path / "elsewhere")
    assert [p.name for p in (tmp_path / "my work" / "new folder").iterdir()] == ["prj µ"]


def test_the_configuration_names_its_own_place(tmp_path):
    yaml = pytest.importorskip("yaml")
    directory = tmp_path / ("long " * 12).strip() / ("name " * 12).strip()
    model = sp.emit.hls4ml(small(), directory, X10)
    config = yaml.safe_load((directory / "hls4ml_config.yml").read_text())
    assert config["OutputDir"] == str(directory) == model.config.get_output_dir()
    files = [p for p in directory.rglob("*") if p.is_file()]
    # nothing but the configuration remembers a path, and not that of the draft
    assert not [p for p in files if f".{directory.name}." in p.read_text(errors="replace")]


def test_an_own_project_is_replaced_whole(tmp_path):
    directory = tmp_path / "prj"
    sp.emit.hls4ml(small(6, 4, 3), directory, X10)
    before = listing(directory)
    sp.emit.hls4ml(small(6), directory, X10)
    assert listing(directory) < before
    sp.emit.hls4ml(small(6, 4, 3), directory, X10)
    assert listing(directory) == before
    assert [p.name for p in tmp_path.iterdir()] == ["prj"]


def test_an_empty_directory_is_used(tmp_path):
    directory = tmp_path / "prj"
    directory.mkdir()
    sp.emit.hls4ml(small(), directory, X10)
    assert (directory / "firmware" / "myproject.cpp").is_file()


def test_what_would_be_lost_is_not_replaced(tmp_path):
    directory = tmp_path / "prj"
    sp.emit.hls4ml(small(), directory, X10)
    (directory / "myproject_prj").mkdir()
    (directory / "myproject_prj" / "report.rpt").write_text("hours of synthesis")
    message = r"holds an hls4ml project and what this one would not replace \(myproject_prj\).*overwrite=True"
    with pytest.raises(FileExistsError, match=message):
        sp.emit.hls4ml(small(5), directory, X10)
    assert (directory / "myproject_prj" / "report.rpt").read_text() == "hours of synthesis"
    assert [p.name for p in tmp_path.iterdir()] == ["prj"]
    sp.emit.hls4ml(small(5), directory, X10, overwrite=True)
    assert not (directory / "myproject_prj").exists()


def test_a_directory_of_something_else_is_never_replaced(tmp_path):
    directory = tmp_path / "thesis"
    directory.mkdir()
    (directory / "chapter1.tex").write_text("text")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="not empty and not an hls4ml project"):
            sp.emit.hls4ml(small(), directory, X10, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is a file"):
        sp.emit.hls4ml(small(), directory / "chapter1.tex", X10, overwrite=True)
    assert listing(tmp_path) == {"thesis/chapter1.tex"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch, error):
    from hls4ml.writer.vitis_writer import VitisWriter

    sp.emit.hls4ml(small(), tmp_path / "old", X10)
    before = {name: (tmp_path / "old" / name).read_bytes() for name in listing(tmp_path / "old")}

    def fail(self, model):
        assert os.path.exists(model.config.get_output_dir() + "/firmware/defines.h")
        raise error

    monkeypatch.setattr(VitisWriter, "write_nnet_utils_overrides", fail)
    for name in ("old", "new"):
        with pytest.raises(type(error)):
            sp.emit.hls4ml(small(8, 8), tmp_path / name, X10)
    assert {name: (tmp_path / "old" / name).read_bytes() for name in listing(tmp_path / "old")} == before
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
