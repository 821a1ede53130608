"""Counts by hand, da4ml's estimate beside what it says itself, and the table a user sees."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from importlib.util import find_spec as really

import numpy as np
import pytest
from firmware_cases import CALIBRATION, network

import shadowprune as sp


@pytest.fixture(scope="module")
def fixed() -> sp.FixedNetwork:
    return sp.quantize(network((9, 7), n_out=2), "auto:8", CALIBRATION)


def test_counts_are_those_of_the_layers():
    net = sp.Network([40, 19, 20, 1], random_state=0)
    found = sp.resources(net, reuse_factor=[4, 3, 1])
    assert [layer.name for layer in found.layers] == ["fc1", "fc2", "fc3"]
    assert [layer.nodes for layer in found.layers] == [19, 20, 1] and found.total.nodes == net.n_nodes == 39
    for column in ("weights", "multiplications"):
        assert [getattr(layer, column) for layer in found.layers] == [760, 380, 20]
    assert [layer.multipliers for layer in found.layers] == [190, 127, 20]
    assert found.total.multipliers == 337 and found.total.weights == net.n_multiplications
    assert found.total.luts is found.total.memory_bits is found.layers[0].stages is None
    assert "shadowprune.quantize" in found.note
    assert sp.resources(net, 4).reuse_factor == (4, 4, 4) and sp.resources(net).total.multipliers == 1160


def test_bits_and_luts_are_those_of_the_logic(fixed, tmp_path):
    found = sp.resources(fixed)
    bits = [
        layer.weights.size * layer.weight_type.width + layer.bias.size * layer.bias_type.width
        for layer in fixed.layers
    ]
    assert [layer.memory_bits for layer in found.layers] == bits
    project = sp.emit.verilog(fixed, tmp_path / "prj")
    assert found.total.luts == round(project.logic.combinational.cost) == round(project.luts)
    assert sum(layer.luts for layer in found.layers) == found.total.luts
    assert found.layers[0].luts > found.layers[1].luts > found.layers[2].luts > 0
    assert (
        found.total.stages == len(list((tmp_path / "prj" / "src").glob("*_stage*.v"))) == project.latency - 1
    )
    assert found.note == ""
    wider = sp.resources(sp.quantize(network((9, 7), n_out=2), "auto:12", CALIBRATION)).total
    assert wider.luts > 1.5 * found.total.luts and wider.memory_bits > 1.4 * found.total.memory_bits


def test_without_da4ml_the_table_says_what_to_type(fixed, monkeypatch):
    monkeypatch.setattr(
        sys.modules["shadowprune.resources"],
        "find_spec",
        lambda name: None if name == "da4ml" else really(name),
    )
    found = sp.resources(fixed)
    assert found.total.luts is None and found.total.memory_bits > 0
    assert found.note == 'LUTs and stages: pip install "shadowprune[rtl]"'
    assert str(found).splitlines()[-1] == found.note


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


def test_it_draws_itself(fixed):
    found = sp.resources(fixed, 2)
    lines = str(found).splitlines()
    head = ["layer", "nodes", "weights", "multiplications", "multipliers", "memory bits", "LUTs", "stages"]
    assert re.split(r" {2,}", lines[0]) == head
    assert len({len(line) for line in lines}) == 1
    total = [int(text.replace(",", "")) for text in lines[-1].split()[1:]]
    assert total == [16, 437, 437, 219, found.total.memory_bits, found.total.luts, found.total.stages]
    parser = Cells()
    parser.feed(found._repr_html_())
    assert not parser.open
    assert parser.cells[:8] == head
    assert parser.cells[8:] == [cell for line in lines[1:] for cell in line.split()]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((sp.ShadowClassifier(),), TypeError, "network must be a Network; got a ShadowClassifier: fit it"),
        ((sp.Network([3, 2, 1]), 0), ValueError, "reuse_factor must be a whole number from 1; got 0"),
        ((sp.Network([3, 2, 1]), True), ValueError, "reuse_factor must be a whole number from 1; got True"),
        ((sp.Network([3, 2, 1]), [1, 2, 3]), ValueError, r"one per dense layer, 2; got \[1, 2, 3\]"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sp.resources(*arguments)


def test_a_network_da4ml_cannot_take_says_why():
    q = sp.quantize(sp.Network([3, 2, 1], random_state=0), "fixed<9,4,RND_CONV,SAT>")
    found = sp.resources(q)
    assert found.total.luts is None and found.note.startswith(
        "no LUTs and stages: layer fc1: da4ml has no RND_CONV"
    )
    assert np.isfinite(found.total.memory_bits)
