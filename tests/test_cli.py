"""The command line: every command does its work, and a mistake is one line and exit code 2."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shadowprune import FixedNetwork, Network, cli
from shadowprune import _tables as tables
from shadowprune.datasets import load_hbb

COMMANDS = ("figure1", "train", "scan", "emit", "generate", "info")


def sample(n=1200, k=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return (rng.normal(size=(n, k)) + 0.8 * y[:, None]).astype(np.float32), y


@pytest.fixture
def npz(tmp_path):
    X, y = sample()
    np.savez(tmp_path / "jets.npz", X=X, y=y)
    return str(tmp_path / "jets.npz")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.npz"
    Network([5, 6, 4, 1], random_state=0).save(path)
    return str(path)


def one_line_error(capsys, *arguments):
    try:
        code = cli.main(list(map(str, arguments)))
    except SystemExit as stop:  # argparse
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and printed.err.startswith(f"shadowprune {arguments[0]}: error: ")
    return printed.err


def test_help_of_every_command(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert f"usage: shadowprune {command}" in text
        assert command == "info" or "--out" in text


def test_version_and_module_in_a_new_process():
    found = subprocess.run(
        [sys.executable, "-m", "shadowprune", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("shadowprune")
    found = subprocess.run(
        [sys.executable, "-m", "shadowprune", "trai"], capture_output=True, text=True, check=False
    )
    assert (
        found.returncode == 2 and found.stderr.count("\n") == 1 and "invalid choice: 'trai'" in found.stderr
    )


def test_the_parser_imports_nothing_heavy():
    code = (
        "import sys, shadowprune.cli as c; c._parser();"
        "print(*{m for m in ('matplotlib', 'mplhep', 'hls4ml', 'h5py') if m in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_info_names_what_is_here(capsys):
    from shadowprune import _core

    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert f"instruction set  {_core.isa()}" in text and f"numpy {np.__version__}" in text
    for extra in cli.EXTRAS:
        assert f"[{extra}]" in text


def test_info_of_a_model(capsys, model):
    assert cli.main(["info", model]) == 0
    text = capsys.readouterr().out
    for words in (
        "5-6-4-1",
        "hidden nodes     10",
        "58 weights and 11 biases",
        "relu",
    ):
        assert words in text


def test_info_counts_what_a_model_costs(capsys, model, tmp_path):
    import shadowprune as sp

    network = sp.Network.load(model)
    assert cli.main(["info", model, "--reuse-factor", "4"]) == 0
    total = capsys.readouterr().out.splitlines()[-2].split()
    found = sp.resources(network, 4).total
    assert total[:5] == [
        "total",
        *map(str, (network.n_nodes, found.weights, found.weights, found.multipliers)),
    ]
    q = sp.quantize(network, "fixed<12,6>")
    assert cli.main(["info", model, "--precision", "fixed<12,6>"]) == 0
    text = capsys.readouterr().out
    assert str(sp.resources(q)) in text and "inputs fixed<12,6>, fc1 fixed<12,6>" in text
    path = str(q.save(tmp_path / "q.npz"))
    assert cli.main(["info", path]) == 0
    assert capsys.readouterr().out == text
    assert "in fixed point already" in one_line_error(capsys, "info", path, "--precision", "auto:8")
    complaint = one_line_error(capsys, "info", model, "--precision", "auto:8")
    assert "add --sample or --data" in complaint and "fixed<16,6>" in complaint
    assert "--precision is for a saved network" in one_line_error(capsys, "info", "--precision", "auto:8")


def test_info_of_a_fixed_network_shows_its_ports(capsys, tmp_path):
    import shadowprune as sp

    X = np.random.default_rng(0).normal(size=(400, 3)) * [1, 30, 1000]
    network = sp.Network([3, 4, 1], random_state=0)
    network.input_names = ["tau", "mass", "pt"]
    q = sp.quantize(network, "auto:8", X)
    assert q.input_type.width > q.aligned_type.width == 8
    assert cli.main(["info", str(q.save(tmp_path / "q.npz"))]) == 0
    text = capsys.readouterr().out
    assert f"inputs {q.input_type.bare} -> {q.aligned_type.bare}, fc1 " in text
    assert "inputs           tau, mass, pt" in text


def test_train_from_npz_saves_the_network_that_was_reported(tmp_path, capsys, npz):
    out = tmp_path / "new" / "out"
    arguments = [
        "train",
        "--data",
        npz,
        "--hidden",
        "8",
        "8",
        "--nodes",
        "6",
        "--epochs",
        "4",
        "--out",
        str(out),
    ]
    assert cli.main([*arguments, "--retrain", "--no-progress"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["rows"] == {"train": 900, "test": 300} and report["classes"] == [0, 1]
    assert report["inputs"] == [f"x{i}" for i in range(5)]
    for name in ("model", "model_retrained"):
        network = Network.load(out / f"{name}.npz")
        assert network.n_nodes == report[name]["nodes"] == 6
        assert list(network.widths) == report[name]["widths"]
    printed = capsys.readouterr().out
    assert "model.npz" in printed and "-".join(map(str, report["model"]["widths"])) in printed
    (_, _), (X, y) = tables.split(tables.read_table(npz), 0.25, 0)
    logits = Network.load(out / "model.npz").forward(X)[:, 0]
    assert report["model"]["accuracy"] == np.mean((logits > 0) == y)
    value, error = report["model"]["rejection_70"]
    assert value > 1 and 0 < error < value


def test_train_on_three_classes_from_csv_with_text_labels(tmp_path):
    X, y = sample(600, 3)
    names = np.array(["light", "charm", "bottom"])[(y + (X[:, 0] > 1)).astype(int)]
    lines = ["pt,eta,tag,mass", *(f"{a},{b},{n},{c}" for (a, b, c), n in zip(X, names, strict=True))]
    path = tmp_path / "jets.csv"
    path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    arguments = [
        "train",
        "--data",
        str(path),
        "--target",
        "tag",
        "--hidden",
        "6",
        "--nodes",
        "all",
        "--epochs",
        "2",
    ]
    assert cli.main([*arguments, "--out", str(out), "--no-progress"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["classes"] == ["bottom", "charm", "light"] and report["inputs"] == ["pt", "eta", "mass"]
    assert report["model"]["widths"] == [3, 6, 3] and "auc" not in report["model"]


def test_train_on_the_embedded_sample_keeps_its_split(tmp_path):
    jets = load_hbb()
    arguments = [
        "train",
        "--sample",
        "hbb",
        "--hidden",
        "4",
        "4",
        "--nodes",
        "0.5",
        "--epochs",
        "1",
        "--no-progress",
    ]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == {"train": int((~jets.is_test).sum()), "test": int(jets.is_test.sum())}
    assert report["inputs"] == list(jets.feature_names) and report["model"]["nodes"] == 4


def test_scan(tmp_path, capsys, npz):
    pytest.importorskip("mplhep")
    arguments = [
        "scan",
        "--data",
        npz,
        "--hidden",
        "6",
        "6",
        "--nodes",
        "0.5",
        "4",
        "--seeds",
        "2",
        "--epochs",
        "2",
    ]
    assert cli.main([*arguments, "--out", str(tmp_path / "scan"), "--no-progress", "--jobs", "1"]) == 0
    text = capsys.readouterr().out
    assert "40" not in text.split("\n")[1].split() and "50 %" in text and "33.3 %" in text
    names = {p.name for p in (tmp_path / "scan").iterdir()}
    assert names == {"scan.csv", "scan.png", "scan.pdf", "model_6.npz", "model_4.npz"}


def test_scan_of_inputs_and_nodes_together(tmp_path, capsys, npz):
    pytest.importorskip("mplhep")
    words = "--hidden 6 6 --nodes 0.5 --inputs free --seeds 1 --epochs 1 --jobs 1 --out"
    assert cli.main(["scan", "--data", npz, *words.split(), str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "asked: of 17 inputs and hidden nodes; kept: hidden nodes" in printed.out
    assert "8 nodes, AUC" in printed.err


def spent(kind, widths, reuse=1):
    pairs = list(itertools.pairwise(widths))
    match kind:
        case "multiplications":
            return sum(a * b for a, b in pairs)
        case "multipliers":
            return sum(-(-a * b // reuse) for a, b in pairs)
        case "weights":
            return sum((a + 1) * b for a, b in pairs)


@pytest.mark.parametrize(
    ("words", "kind", "asked"),
    [
        ("--multiplications 40 --inputs free", "multiplications", 40),
        ("--multipliers 20 --reuse-factor 4 --multiple 2 --inputs 4", "multipliers", 20),
        ("--weights 0.6 --min-nodes 2 --layers 1", "weights", 77),
    ],
)
def test_train_to_a_cost(tmp_path, capsys, npz, words, kind, asked):
    arguments = [
        "--data",
        npz,
        "--out",
        str(tmp_path),
        "--hidden",
        "8",
        "8",
        "--epochs",
        "4",
        "--no-progress",
    ]
    assert cli.main(["train", *arguments, *words.split()]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    widths, first = report["model"]["widths"], report["budget"][0]
    used = spent(kind, widths, reuse=4)
    assert (first["name"], first["asked"], first["used"]) == (kind, asked, used)
    assert 0 <= first["slack"] == asked - used
    assert first["slack"] < first["next_node"]
    assert f"{kind}: {used} of {asked}" in capsys.readouterr().out
    if "multiple" in words:
        assert widths[0] == 4 and all(w % 2 == 0 for w in widths[1:-1])
    if "layers" in words:
        assert widths[1] == 8 and widths[2] >= 2


@pytest.mark.parametrize(
    ("words", "widths"),
    [
        ("--per-layer 3", (5, 3, 3, 1)),
        ("--per-layer all 0.5", (5, 8, 4, 1)),
        ("--nodes all --inputs 3", (3, 8, 8, 1)),
        ("--nodes all", (5, 8, 8, 1)),
        ("--multiplications all", (5, 8, 8, 1)),
        ("--weights all --inputs 3", (3, 8, 8, 1)),
        ("--per-layer all", (5, 8, 8, 1)),
        ("--nodes 12 --max-nodes 6", (5, 6, 6, 1)),
    ],
)
def test_train_to_widths(tmp_path, npz, words, widths):
    arguments = [
        "--data",
        npz,
        "--out",
        str(tmp_path),
        "--hidden",
        "8",
        "8",
        "--epochs",
        "2",
        "--no-progress",
    ]
    assert cli.main(["train", *arguments, *words.split()]) == 0
    assert Network.load(tmp_path / "model.npz").widths == widths


def test_scan_of_a_cost(tmp_path, capsys, npz):
    pytest.importorskip("mplhep")
    arguments = ["--data", npz, "--hidden", "6", "6", "--seeds", "1", "--epochs", "3", "--jobs", "1"]
    budgets = [
        "--multipliers",
        "1.",
        "12",
        "--reuse-factor",
        "4",
        "2",
        "1",
        "--multiple",
        "2",
        "--no-progress",
    ]
    assert cli.main(["scan", *arguments, *budgets, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "asked: multipliers; kept: hidden nodes" in text
    full = 8 + 18 + 6  # ceil(5 6 / 4) + 6 6 / 2 + 6
    rows = list(csv.DictReader((tmp_path / "scan.csv").read_text().splitlines()))
    assert [int(row["multipliers_asked"]) for row in rows] == [full, 12]
    for row in rows:
        a, b, c, d = map(int, row["widths"].split("-"))
        assert -(-a * b // 4) + -(-b * c // 2) + c * d <= int(row["multipliers_asked"])
        assert b % 2 == c % 2 == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"model_32.npz", "model_12.npz", "scan.png"}
    smallest = "multiplications is 6; the smallest that this network can meet is 7"
    assert smallest in one_line_error(capsys, "scan", *arguments, "--multiplications", "6", "--no-progress")


def test_figure1_hands_on_its_arguments(monkeypatch, capsys, tmp_path):
    from shadowprune import figure1

    seen = {}
    monkeypatch.setattr(figure1, "run", lambda out, **arguments: seen.update(out=out, **arguments))
    monkeypatch.setattr(figure1, "table", lambda summary: "the table")
    arguments = [
        "--out",
        str(tmp_path),
        "--fractions",
        "1",
        "0.5",
        "--seeds",
        "2",
        "--jobs",
        "1",
        "--no-hls4ml",
        "--path",
    ]
    assert cli.main(["figure1", *arguments]) == 0
    expected = {
        "fractions": [1.0, 0.5],
        "seeds": 2,
        "n_jobs": 1,
        "hls4ml": False,
        "path": True,
        "quick": False,
        "progress": True,
    }
    assert seen == expected | {"out": str(tmp_path)}
    assert "the table" in capsys.readouterr().out
    assert cli.main(["figure1", "--quick", "--no-progress"]) == 0
    assert seen["hls4ml"] == "auto" and seen["quick"] and not seen["progress"] and seen["fractions"] is None
    assert not seen["path"]


def test_generate_hands_on_its_arguments(monkeypatch, capsys):
    from shadowprune import datasets

    seen = {}
    monkeypatch.setattr(
        datasets, "generate", lambda out, **arguments: seen.update(out=out, **arguments) or out
    )
    arguments = ["--out", "jets.h5", "--jets", "10", "--seed", "3", "--workers", "1", "--chunk-size", "5"]
    assert cli.main(["generate", *arguments, "--detector", "trigger", "--no-progress"]) == 0
    expected = {
        "n_jets": 10,
        "seed": 3,
        "n_workers": 1,
        "chunk_size": 5,
        "detector": "trigger",
        "overwrite": False,
    }
    assert seen == expected | {"out": "jets.h5", "progress": False}
    assert capsys.readouterr().out == "jets.h5\n"


def test_emit_writes_a_project(tmp_path, capsys, model, npz):
    pytest.importorskip("hls4ml")
    out = tmp_path / "prj"
    assert cli.main(["emit", model, "--data", npz, "--out", str(out), "--no-compile"]) == 0
    assert (out / "firmware").is_dir()
    assert "5-6-4-1, 58 multiplications" in capsys.readouterr().out


def test_emit_compiles_and_compares(tmp_path, capsys, model, npz, monkeypatch):
    from types import SimpleNamespace

    from shadowprune import emit

    network, seen = Network.load(model), {}
    fake = SimpleNamespace(
        compile=lambda: print("noise"), predict=lambda X: network.forward(X) + np.float32(0.5)
    )
    monkeypatch.setattr(emit, "hls4ml", lambda *a, **arguments: seen.update(arguments) or fake)
    monkeypatch.setattr("shutil.which", lambda name: name)
    arguments = [
        "--precision",
        "fixed<12,4>",
        "--backend",
        "Vivado",
        "--strategy",
        "Resource",
        "--reuse-factor",
        "2",
    ]
    assert cli.main(["emit", model, "--data", npz, "--out", str(tmp_path / "prj"), *arguments]) == 0
    assert seen["precision"] == "fixed<12,4>" and seen["backend"] == "Vivado" and seen["reuse_factor"] == 2
    assert seen["X"].dtype == np.float32 and seen["X"].shape == (1200, 5)
    text = capsys.readouterr().out
    assert "1200 rows against float: RMS 0.5, largest 0.5" in text and "noise" not in text


def test_emit_without_rows_draws_them_or_says_that_nothing_was_compared(tmp_path, capsys, model, monkeypatch):
    from types import SimpleNamespace

    from shadowprune import emit, quantize

    fixed = quantize(Network.load(model), "fixed<12,6>")
    path, seen = str(fixed.save(tmp_path / "q.npz")), []

    def predict(X):
        seen.append(X)
        logits = fixed.forward(X)
        logits[3] += 1
        return logits

    fake = SimpleNamespace(compile=lambda: None, predict=predict)
    monkeypatch.setattr(emit, "hls4ml", lambda *a, **arguments: fake)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert cli.main(["emit", path, "--out", str(tmp_path / "prj")]) == 0
    (rows,) = seen
    assert rows.dtype == np.float32 and rows.shape[1] == 5 and fixed.forward(rows).std() > 0
    assert f"compiled; {len(rows)} drawn rows against integers: 1 differ" in capsys.readouterr().out
    assert cli.main(["emit", model, "--precision", "fixed<12,6>", "--out", str(tmp_path / "prj")]) == 0
    assert "not compared: add --sample or --data" in capsys.readouterr().out and len(seen) == 1


def test_training_for_fixed_point_is_emitted_as_it_was_trained(tmp_path, capsys, npz):
    pytest.importorskip("hls4ml")
    out = ("--hidden", "6", "4", "--nodes", "5", "--epochs", "2", "--out", tmp_path / "fit", "--no-progress")
    assert cli.main([str(a) for a in ("train", "--data", npz, "--precision", "auto:8", *out)]) == 0
    path = tmp_path / "fit" / "model_fixed.npz"
    fixed = FixedNetwork.load(path)
    assert fixed.widths == Network.load(tmp_path / "fit" / "model.npz").widths
    assert len(fixed.input_names) == 5 and fixed.layers[0].weight_type.width == 8
    assert cli.main(["emit", str(path), "--out", str(tmp_path / "prj"), "--no-compile"]) == 0
    written = (tmp_path / "prj" / "firmware" / "defines.h").read_text()
    assert f"ap_{fixed.layers[0].weight_type.bare}" in written
    capsys.readouterr()
    complaint = one_line_error(capsys, "emit", path, "--precision", "auto:8", "--out", tmp_path / "other")
    assert "has its types already: leave --precision out" in complaint


def test_mistakes_are_one_line(capsys, tmp_path, npz, model):
    out = ("--out", tmp_path / "out", "--no-progress")
    assert "no such file" in one_line_error(capsys, "train", "--data", tmp_path / "none.npz", *out)
    assert "one of the arguments --sample --data is required" in one_line_error(capsys, "train", *out)
    assert "sample must be hbb, got 'cifar'" in one_line_error(capsys, "train", "--sample", "cifar", *out)
    assert "must be a count, a fraction or 'all'" in one_line_error(capsys, "train", "--nodes", "few", *out)
    smallest = "multiplications is 6; the smallest that this network can meet is 8"
    arguments = ("--hidden", "4", "4", "4", "--multiplications", "6")
    assert smallest in one_line_error(capsys, "train", "--data", npz, *arguments, *out)
    both = ("--nodes", "4", "--weights", "99")
    assert "not allowed with argument" in one_line_error(capsys, "train", "--data", npz, *both, *out)
    reuse = ("--nodes", "4", "--reuse-factor", "2")
    assert "--reuse-factor is for --multipliers" in one_line_error(
        capsys, "train", "--data", npz, *reuse, *out
    )
    none = ("--nodes", "all", "--multiple", "4")
    assert "--multiple is for a budget, and --nodes all is none" in one_line_error(
        capsys, "train", "--data", npz, *none, *out
    )
    assert "nodes is 1.5" in one_line_error(capsys, "train", "--data", npz, "--nodes", "1.5", *out)
    assert "activation" in one_line_error(capsys, "train", "--data", npz, "--activation", "gelu", *out)
    assert "no target 'z'" in one_line_error(capsys, "train", "--data", npz, "--target", "z", *out)
    assert "between 0 and 1, got 2.0" in one_line_error(
        capsys, "train", "--data", npz, "--test-fraction", "2", *out
    )
    assert "one in each of 4" in one_line_error(capsys, "scan", "--data", npz, "--nodes", "3", *out)
    assert "n_jobs" in one_line_error(capsys, "figure1", "--jobs", "0", *out)
    assert "none.npz" in one_line_error(capsys, "info", tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(Path(model).read_bytes()[:200])
    assert "broken.npz" in one_line_error(capsys, "info", tmp_path / "broken.npz")
    assert "broken.npz" in one_line_error(capsys, "emit", tmp_path / "broken.npz", "--out", tmp_path / "prj")
    assert "add --sample or --data" in one_line_error(capsys, "emit", model, "--out", tmp_path / "prj")
    assert "must end in" in one_line_error(capsys, "generate", "--out", tmp_path / "jets.root")
    assert not (tmp_path / "out").exists()
    assert "no directory" in one_line_error(capsys, "train", "--data", npz, "--out", model, "--no-progress")


def test_traceback_on_request_and_interrupt(monkeypatch, capsys, tmp_path):
    with pytest.raises(FileNotFoundError):
        cli.main(["info", "--traceback", str(tmp_path / "none.npz")])

    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_info", interrupted)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "shadowprune: interrupted\n"


def test_tables_from_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    X, y = sample(50, 3)
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        file["data"], file["label"] = X, y
        file["feature_names"] = ["pt", "eta", "mass"]
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        file["eta"], file["target"], file["pt"] = X[:, 1], y, X[:, 0]
    found = tables.read_table(tmp_path / "matrix.h5")
    assert found.names == ("pt", "eta", "mass") and (found.X == X).all() and (found.y == y).all()
    found = tables.read_table(tmp_path / "columns.h5")
    assert found.names == ("eta", "pt") and (X[:, [1, 0]] == found.X).all()
    assert tables.read_table(tmp_path / "columns.h5", "pt").names == ("eta", "target")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match=r"text.h5 is not a readable HDF5 file"):
        tables.read_table(tmp_path / "text.h5")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_tables_from_generated_files(tmp_path, suffix):
    if suffix == ".h5":
        pytest.importorskip("h5py")
    from shadowprune.datasets import sample_io

    rng = np.random.default_rng(0)
    data, target, is_test = rng.normal(size=(20, 40)).astype("f4"), np.arange(20) % 2, np.arange(20) % 5 == 0
    columns = {"target": (target, "1 for signal"), "is_test": (is_test, "test part")}
    columns |= {name: (np.zeros(20), "") for name in ("n_b", "n_c", "event", "chunk", "mass", "pt")}
    sample_io.write_sample(tmp_path / f"jets{suffix}", data, columns, {"seed": 1})
    found = tables.read_table(tmp_path / f"jets{suffix}")
    np.testing.assert_array_equal(found.X, data)
    train, test = tables.split(found, 0.5, 0)
    assert len(train[1]) == 16 and (test[0] == data[is_test]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "jets.csv is empty"),
        ("a,b\n1,2\n", "has no target target or y or label or labels; it holds a, b"),
        ("a,a,y\n1,2,0\n", "two columns have the same name"),
        ("a,y\n1,0\n1\n", "row 2 has 1 cells, the header 2"),
        ("a,y\n1,0\nx,1\n", "row 2: could not convert string to float: 'x'"),
        ("y\n1\n0\n", r"rows and columns, got \(2, 0\)"),
        ("a,y\n", r"rows and columns, got \(0, 1\)"),
    ],
)
def test_mistakes_in_csv_are_named(tmp_path, text, message):
    (tmp_path / "jets.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        tables.read_table(tmp_path / "jets.csv")


def test_mistakes_in_npz_are_named(tmp_path):
    X, y = sample(10, 2)
    path = tmp_path / "jets.npz"
    for arrays, message in (
        ({"X": X, "y": y[:4]}, r"target has shape \(4,\), the table \(10, 2\)"),
        ({"X": X.astype(str), "y": y}, "the columns must be numbers"),
        ({"cube": np.ones((2, 2, 2)), "y": y}, "holds neither a matrix X or data nor columns, but cube, y"),
        ({"a": X[:, 0], "b": X[:5, 1], "y": y}, r"different lengths, \[5, 10\]"),
        ({"X": np.array([{}, {}]), "y": y}, "not a readable npz file of plain arrays"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message):
            tables.read_table(path)
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="not a readable npz file"):
        tables.read_table(path)
    assert tables.read_table(_saved(path, a=X[:, 0]), need_target=False).y is None


def _saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_input_selection_is_reported_saved_and_found_again_by_emit(tmp_path, capsys):
    X, y = sample(600, 4)
    path = tmp_path / "jets.csv"
    rows = ["noise,pt,tag,eta,mass", *(f"{c},{a},{t},{b},{d}" for (a, b, c, d), t in zip(X, y, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    arguments = ["train", "--data", str(path), "--target", "tag", "--hidden", "8", "--nodes", "all"]
    arguments += ["--epochs", "4", "--inputs", "2", "--retrain", "--out", str(out), "--no-progress"]
    assert cli.main(arguments) == 0
    report = json.loads((out / "report.json").read_text())
    kept = report["inputs_kept"]
    assert len(kept) == 2 and set(kept) < set(report["inputs"])
    for name in ("model", "model_retrained"):
        network = Network.load(out / f"{name}.npz")
        assert list(network.input_names) == kept and network.widths[0] == 2
    capsys.readouterr()
    assert cli.main(["info", str(out / "model.npz")]) == 0
    assert ", ".join(kept) in capsys.readouterr().out
    columns = cli._columns(tables.Table(X, None, ("pt", "eta", "noise", "mass"), None), network)
    np.testing.assert_array_equal(columns, X[:, [("pt", "eta", "noise", "mass").index(k) for k in kept]])
    with pytest.raises(ValueError, match="the sample has no column"):
        cli._columns(tables.Table(X[:, :3], None, ("a", "b", "c"), None), network)


def test_a_saved_network_is_pruned_on(tmp_path, capsys):
    X, y = sample(600, 4)
    path = tmp_path / "jets.csv"
    rows = ["a,b,tag,c,d", *(f"{a},{b},{t},{c},{d}" for (a, b, c, d), t in zip(X, y, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    first, second = tmp_path / "first", tmp_path / "second"
    common = ["train", "--data", str(path), "--target", "tag", "--no-progress", "--out"]
    assert cli.main([*common, str(first), "--hidden", "9", "7", "--inputs", "3", "--epochs", "4"]) == 0
    start = Network.load(first / "model.npz")
    arguments = ["--start", str(first / "model.npz"), "--nodes", "4", "--inputs", "2", "--method", "taylor"]
    assert cli.main([*common, str(second), *arguments, "--epochs", "3"]) == 0
    report = json.loads((second / "report.json").read_text())
    network = Network.load(second / "model.npz")
    assert report["inputs"] == list(start.input_names) and set(report["inputs_kept"]) < set(report["inputs"])
    assert network.n_nodes == 4 and network.widths[0] == 2
    assert list(network.input_names) == report["inputs_kept"]
    capsys.readouterr()
    error = one_line_error(capsys, *common, second, *arguments, "--method", "magic")
    assert "method is 'magic'" in error
