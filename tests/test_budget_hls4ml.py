"""The multipliers a budget counts are those hls4ml allows itself."""

import re
import subprocess

import numpy as np
import pytest
from firmware_cases import needs_compiler

import shadowprune as sp

pytest.importorskip("hls4ml")


def multiplier_limits(directory):
    """multiplier_limit of every dense layer, worked out by the compiler from the project's own header."""
    header = (directory / "firmware" / "parameters.h").read_text()
    names = re.findall(r"struct (config\d+) : nnet::dense_config", header)
    prints = "".join(f"    std::cout << {name}::multiplier_limit << std::endl;\n" for name in names)
    source = directory / "limits.cpp"
    includes = "\n".join(
        f"#include {h}" for h in ("<iostream>", '"firmware/defines.h"', '"firmware/parameters.h"')
    )
    source.write_text(f"{includes}\nint main()\n{{\n{prints}}}\n")
    flags = ["-std=c++11", "-fpermissive", "-w", f"-I{directory}/firmware/ap_types", f"-I{directory}"]
    program = directory / "limits"
    subprocess.run(["g++", *flags, str(source), "-o", str(program)], check=True)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in printed.split()]


@needs_compiler
@pytest.mark.parametrize(
    ("strategy", "budget"),
    [
        ("Latency", sp.Budget(multipliers=1000)),
        ("Latency", sp.Budget(multipliers=150, reuse_factor=[7, 3, 5, 2, 1])),
        ("Resource", sp.Budget(multipliers=200, reuse_factor=4, multiple=4)),
        ("Resource", sp.Budget(multipliers=300, reuse_factor=[8, 4, 2, 4, 4], multiple=8, inputs="free")),
    ],
    ids=str,
)
def test_hls4ml_reports_as_many_multipliers(tmp_path, strategy, budget):
    net = sp.Network([40, 64, 64, 64, 64, 1], random_state=0)
    net.params[:] = np.random.default_rng(0).uniform(0.5, 1, size=net.params.size)  # none is rounded to zero
    shadow = sp.ShadowNetwork(net, budget=budget, random_state=1)
    for group in shadow.groups:
        group.scores[:] = np.random.default_rng(2).normal(size=group.total)
    small = net.reduce(shadow.support())
    reuse = budget.reuse_factor
    reuse = reuse if isinstance(reuse, int) else list(reuse)
    model = sp.emit.hls4ml(
        small, tmp_path / "prj", precision="fixed<16,6>", strategy=strategy, reuse_factor=reuse
    )
    model.write()
    limits = multiplier_limits(tmp_path / "prj")
    assert len(limits) == 5
    report = shadow.report()[0]
    assert sum(limits) == report.used <= report.asked
    # multiples of the reuse factor spare Resource the trap of another, larger one
    given = [layer.get_attr("reuse_factor") for layer in model.get_layers() if layer.class_name == "Dense"]
    assert given == (reuse if isinstance(reuse, list) else [reuse] * 5)


def test_widths_without_multiples_fall_into_the_trap_that_the_emitter_refuses(tmp_path):
    """Resource would snap R = 4 to a divisor and take more multipliers than were counted."""
    net = sp.Network([16, 19, 19, 19, 20, 5], random_state=0)
    with pytest.raises(ValueError, match="reuse_factor 4 is not possible"):
        sp.emit.hls4ml(net, tmp_path, precision="fixed<16,6>", strategy="Resource", reuse_factor=4)
