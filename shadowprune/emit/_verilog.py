"""Pipelined Verilog of a fixed-point network, with golden vectors and a test bench that replays them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_name, check_rows
from .._extras import require
from ..fixedpoint import FixedNetwork, FixedType
from ._da4ml import Logic, aligned, trace
from ._exact import check_fixed
from ._files import check_directory, project

MARKER = "firmware.json"  # what makes a directory a Verilog project
DRAWN = 256  # golden rows all over the range of the inputs, beside the user's

_RESERVED = (
    "always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign "
    "default defparam design disable edge else end endcase endconfig endfunction endgenerate "
    "endmodule endprimitive endspecify endtable endtask event for force forever fork function "
    "generate genvar highz0 highz1 if ifnone incdir include initial inout input instance integer join "
    "large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled "
    "not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup "
    "pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran "
    "rtranif0 rtranif1 scalared showcancelled signed small specify specparam strong0 strong1 supply0 "
    "supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg unsigned use "
    "vectored wait wand weak0 weak1 while wire wor xnor xor bit byte char class do enum final int "
    "logic packed string struct type union var void shift_adder negative mux lookup_table multiplier "
    "binop clk x y"
)


@dataclass(frozen=True)
class VerilogProject:
    """A written project.

    Attributes
    ----------
    directory : pathlib.Path
    module : str
        Name of the top module, in ``src/<module>.v``.
    luts : float
        da4ml's estimate.
    latency : int
        Clocks from a row at ``x`` to its logits at ``y``; a new row is taken every clock.
    register_bits : int
        Flip-flops.
    """

    directory: Path
    module: str
    luts: float
    latency: int
    register_bits: int
    logic: Logic

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits of rows of the user's columns, by da4ml's emulator of the logic.

        Parameters
        ----------
        X : array_like of shape (n, n_inputs)

        Returns
        -------
        ndarray of shape (n, n_outputs), float64
        """
        return self.logic.predict(X)

    def simulate(self, X: ArrayLike | None = None, *, tool: str = "verilator") -> int:
        """Run the test bench: the written Verilog, clock by clock.

        Parameters
        ----------
        X : array_like of shape (n, n_inputs), optional
            Rows to replay in place of the golden vectors.
        tool : {"verilator", "iverilog"}
            Verilator 5 compiles for long and runs fast, Icarus Verilog the other way round.

        Returns
        -------
        int
            Rows whose logits differ from ``FixedNetwork.forward``.

        Raises
        ------
        ValueError, TypeError
            If X has another shape or the tool another name.
        FileNotFoundError
            If the tool is not installed.
        RuntimeError
            If the simulation fails.
        """
        if tool not in ("verilator", "iverilog"):
            raise ValueError(f"tool must be verilator or iverilog; got {tool!r}")
        network = self.logic.network
        rows = None if X is None else check_rows(X, network.n_inputs)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "project"
            shutil.copytree(self.directory, copy)
            if rows is not None:
                _write_bench(copy, self.module, network, rows, self.latency)
            return _simulate(copy, self.module, tool)

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.logic.network.widths))
        return (
            f"VerilogProject({str(self.directory)!r}: {widths}, {self.luts:.0f} LUTs, "
            f"{self.register_bits} flip-flops, {self.latency} clocks)"
        )


def verilog(
    network: FixedNetwork,
    directory: str | os.PathLike[str],
    X: ArrayLike | None = None,
    *,
    module: str = "tagger",
    adders_per_stage: int = 5,
    delay_slack: int = 2,
    overwrite: bool = False,
) -> VerilogProject:
    """Write a fixed-point network as pipelined Verilog: one row in, and one out, every clock.

    Parameters
    ----------
    network : shadowprune.FixedNetwork
        From `shadowprune.quantize`.
    directory : path
        Where the project goes. It is written beside and then renamed: complete, or not there.
    X : array-like (n, n_inputs), optional
        Rows in the network's columns for the golden vectors, which have 256 more all over the range of the
        inputs.
    module : str, default="tagger"
        Name of the top module: an identifier.
    adders_per_stage : int, default=5
        Adders in a row between two registers: fewer allow a faster clock and cost more clocks and flip-flops.
    delay_slack : int, default=2
        Adders a layer may have in a row beyond the fewest possible; more of them share more terms, so that
        fewer LUTs and more stages are needed. -1: as many as sharing wants.
    overwrite : bool, default=False
        Replace a Verilog project in `directory` even if it holds files that were not written here.

    Returns
    -------
    VerilogProject
        ``predict(X)`` is da4ml's emulator of it, ``simulate()`` the test bench in Verilator.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or the network has what da4ml has not (RND_CONV; weights of more than
        24 bits; inputs of more than 32).
    FileExistsError
        If `directory` holds something that would be lost.
    ImportError
        Without da4ml: ``pip install "shadowprune[rtl]"``.

    Notes
    -----
    Ports: ``clk``; ``x``, column i in bits ``[W*i +: W]``, two's complement, of type
    ``network.dense_input``; ``y``, logit j likewise, of the last layer's ``output_type``. Columns come
    aligned: (column - offset) times 2^shift, as ``firmware.json`` lists them; upstream units usually differ
    from the user's anyway. There is no reset: what was in the pipeline leaves it.

    Files: ``src/``: the Verilog and its tables (``*.mem``). ``tb/``: a self-checking test bench, ``x.hex``
    and ``y.hex``. ``golden.npz``: the same rows as numbers, ``x`` as the user has them, ``x_ports`` and
    ``y_ports`` in steps of their types, ``y``. ``Makefile``: ``make`` runs the bench in Verilator 5,
    ``make SIM=iverilog`` in Icarus Verilog. Modules of ``src/`` that are not named after `module` are
    da4ml's, LGPL-3.0.
    """
    check_fixed(network)
    check_name("module", module, _RESERVED, "Verilog")
    target = check_directory(directory)
    rows = np.empty((0, network.n_inputs)) if X is None else check_rows(X, network.n_inputs)
    logic = trace(network, adders_per_stage=adders_per_stage, delay_slack=delay_slack)
    latency = logic.stages + 1
    with project(target, MARKER, "a Verilog project", overwrite) as draft:
        _write_sources(draft / "src", module, logic)
        _write_bench(draft, module, network, np.concatenate([rows, _drawn(network)]), latency)
        (draft / "Makefile").write_text(_MAKEFILE.replace("@MODULE@", module), encoding="utf-8")
        (draft / MARKER).write_text(
            json.dumps(_described(module, logic, latency), indent=1) + "\n", encoding="utf-8"
        )
    return VerilogProject(target, module, sum(logic.luts), latency, logic.register_bits, logic)


def _write_sources(folder: Path, module: str, logic: Logic) -> None:
    generated = require("da4ml.codegen.rtl.verilog", "rtl")
    tables = require("da4ml.codegen.rtl.verilog.comb", "rtl").table_mem_gen
    core = f"{module}_core"
    folder.mkdir()
    texts = dict(generated.pipeline_logic_gen(logic.pipeline, core, print_latency=False))
    library = Path(str(generated.__file__)).parent / "source"
    used = {word for text in texts.values() for word in re.findall(r"(\w+) #\(", text)}
    for source in sorted(library.glob("*.v")):
        if source.stem in used:
            texts[source.stem] = _portable(source.read_text(encoding="utf-8"))
    texts[module] = _top(module, core, logic)
    for name, text in texts.items():
        (folder / f"{name}.v").write_text(text, encoding="utf-8")
    for stage in logic.pipeline.solutions:
        for name, text in tables(stage).items():
            # Verilator drops a last line without its end
            (folder / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _portable(source: str) -> str:
    """da4ml's modules without comments for later Verilators and an attribute that stops Icarus."""
    source = re.sub(r"/\*\s*verilator.*?\*/", "", source)
    return re.sub(r"\(\* rom_style = \(.*\*\)", '(* rom_style = "distributed" *)', source)


def _top(module: str, core: str, logic: Logic) -> str:
    """The module with ports of the network's own types: da4ml drops bits that cannot change."""
    network = logic.network
    x, y = network.dense_input, network.layers[-1].output_type
    wires, at = [], 0
    kifs = np.asarray(logic.combinational.out_kifs).T
    for j, (k, i, f) in enumerate(kifs):
        width = int(k + i + f)
        low = y.fractional - int(f)
        above = y.width - low - width
        bits = f"core[{at + width - 1}:{at}]" if width else ""
        sign = f"{{{above}{{core[{at + width - 1}]}}}}" if k else f"{above}'b0"
        parts = [sign if above else "", bits, f"{low}'b0" if low else ""]
        wires.append(
            f"    assign y[{y.width * (j + 1) - 1}:{y.width * j}] = {{{', '.join(p for p in parts if p)}}};"
        )
        at += width
    assigned = "\n".join(wires)
    return f"""`timescale 1 ns / 1 ps

// {"-".join(map(str, network.widths))}, {network.activation}
// x: {network.n_inputs} of {x.bare}, y: {network.n_outputs} of {y.bare}, lowest index in the lowest bits
// {logic.stages + 1} clocks from x to y, a new x every clock
module {module} (
    input clk,
    input [{x.width * network.n_inputs - 1}:0] x,
    output [{y.width * network.n_outputs - 1}:0] y
);
    wire [{max(at, 1) - 1}:0] core;
    {core} network (.clk(clk), .model_inp(x), .model_out(core));
{assigned}
endmodule
"""


def _drawn(network: FixedNetwork) -> NDArray[np.float64]:
    """Rows at and between the limits of what enters the first layer, in the user's columns."""
    kind, rng = network.dense_input, np.random.default_rng(0)
    low, high = round(kind.low / kind.step), round(kind.high / kind.step)
    inside = rng.integers(low, high, (DRAWN // 2, network.n_inputs), endpoint=True)
    ends = rng.choice([low, high], (DRAWN - len(inside), network.n_inputs))
    ends[0], ends[1] = low, high
    x = np.concatenate([inside, ends]) * kind.step
    if network.shifts is not None:
        x = np.ldexp(x, -network.shifts)
        x = x if network.offset is None else x + network.offset
    return np.asarray(x)


def _write_bench(
    folder: Path, module: str, network: FixedNetwork, X: NDArray[np.float64], latency: int
) -> None:
    x_kind, y_kind = network.dense_input, network.layers[-1].output_type
    x, y = aligned(network, X), y_kind.integers(network.forward(X))
    bench = folder / "tb"
    bench.mkdir(exist_ok=True)
    (bench / "x.hex").write_text(_hex(x, x_kind), encoding="ascii")
    (bench / "y.hex").write_text(_hex(y, y_kind), encoding="ascii")
    np.savez(folder / "golden.npz", x=X, x_ports=x, y_ports=y, y=y * y_kind.step)
    values = {
        "MODULE": module,
        "ROWS": len(X),
        "LATENCY": latency,
        "X_BITS": x_kind.width * network.n_inputs,
        "Y_BITS": y_kind.width * network.n_outputs,
    }
    text = _BENCH
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (bench / f"{module}_tb.v").write_text(text, encoding="utf-8")


def _hex(rows: NDArray[np.int64], kind: FixedType) -> str:
    """One line per row: the port's word, first column in the lowest bits."""
    mask, digits = (1 << kind.width) - 1, -(-kind.width * rows.shape[1] // 4)
    lines = []
    for row in rows.tolist():
        word = 0
        for value in reversed(row):
            word = (word << kind.width) | (value & mask)
        lines.append(f"{word:0{digits}x}\n")
    return "".join(lines)


def _described(module: str, logic: Logic, latency: int) -> dict[str, Any]:
    from importlib.metadata import version

    network = logic.network
    shifts = np.zeros(network.n_inputs, int) if network.shifts is None else network.shifts
    offsets = np.zeros(network.n_inputs) if network.offset is None else network.offset
    return {
        "module": module,
        "widths": list(network.widths),
        "activation": network.activation,
        "x": {"type": str(network.dense_input), "column_type": str(network.input_type)},
        "y": {"type": network.layers[-1].output_type.bare},
        "columns": [
            {"offset": float(offset), "shift": int(shift)}
            for offset, shift in zip(offsets, shifts, strict=True)
        ],
        "latency_clocks": latency,
        "estimated_luts": sum(logic.luts),
        "register_bits": logic.register_bits,
        "versions": {name: version(name) for name in ("shadowprune", "da4ml")},
    }


def _simulate(folder: Path, module: str, tool: str) -> int:
    if shutil.which(tool) is None:
        raise FileNotFoundError(f"{tool} is not installed: apt-get install {tool}")
    run = ["make", "-s", f"SIM={tool}"]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(rf"^{module}: (\d+) of (\d+) rows wrong$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the simulation of {module} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return int(found[1])


_BENCH = """`timescale 1 ns / 1 ps

// Replays x.hex, a row every clock, and compares y with y.hex @LATENCY@ clocks later. Run in src/.
module @MODULE@_tb;
    localparam ROWS = @ROWS@;
    localparam LATENCY = @LATENCY@;
    reg clk = 0;
    reg [@X_BITS@-1:0] x = 0;
    wire [@Y_BITS@-1:0] y;
    reg [@X_BITS@-1:0] given [0:ROWS-1];
    reg [@Y_BITS@-1:0] wanted [0:ROWS-1];
    integer row, wrong;

    @MODULE@ device (.clk(clk), .x(x), .y(y));
    always #5 clk = ~clk;

    initial begin
        $readmemh("../tb/x.hex", given);
        $readmemh("../tb/y.hex", wanted);
        wrong = 0;
        for (row = 0; row < ROWS + LATENCY; row = row + 1) begin
            @(negedge clk);
            if (row >= LATENCY && y !== wanted[row - LATENCY]) begin
                wrong = wrong + 1;
                if (wrong <= 10) $display("row %0d: %h, not %h", row - LATENCY, y, wanted[row - LATENCY]);
            end
            x = row < ROWS ? given[row] : 0;
        end
        $display("@MODULE@: %0d of %0d rows wrong", wrong, ROWS);
        $finish;
    end
endmodule
"""

_MAKEFILE = """# The golden vectors through the Verilog: make, or make SIM=iverilog
SIM ?= verilator
SOURCES := $(wildcard src/*.v) tb/@MODULE@_tb.v

.PHONY: simulate clean
simulate: build/$(SIM)
\tcd src && ../build/$(SIM)

build/verilator: $(SOURCES)
\tmkdir -p build/obj
\tverilator --binary -O3 -Wno-fatal -Wno-lint -Wno-style --top-module @MODULE@_tb \\
\t    -MAKEFLAGS "OPT_FAST=-O0 OPT_GLOBAL=-O0" --Mdir build/obj -o ../verilator $(SOURCES)

build/iverilog: $(SOURCES)
\tmkdir -p build
\tiverilog -g2005-sv -s @MODULE@_tb -o build/iverilog $(SOURCES)

clean:
\trm -rf build
"""
