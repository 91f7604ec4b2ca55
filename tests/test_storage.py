"""Files that are whole or absent, and what reading a damaged one says."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from classlens.analyses import extraction
from classlens.data.images import read_unchanged
from classlens.errors import InputError
from classlens.lens import Lens, rank
from classlens.models import loading
from classlens.storage import hidden_states, parquet, provenance
from classlens.storage.atomic_write import atomic_write
from classlens.storage.fingerprints import Fingerprints
from classlens.storage.provenance import _imported_files, sha256
from classlens.trace import Trace

SCRIPTS = REPOSITORY / "workflow" / "scripts"


def states(path: Path, dtype: str = "float16", form: str = hidden_states.STATES_FORMAT) -> np.ndarray:
    """Write a shard of three row groups with one site and block, rows of very different size, and return its states."""
    values = np.arange(24, dtype=hidden_states.NUMPY_DTYPES[dtype]).reshape(6, 4)
    exponents = np.array([0, -100, 100, -20, 3, 0], np.int8)
    schema = pa.schema([("x.0", pa.binary(4 * values.itemsize))], metadata={"dtype": dtype, "D": "4", "format": form})
    if dtype == "float16":
        schema = schema.append(pa.field("x.0.exponent", pa.int8()))
    with parquet.table_writer(path, schema, {}) as write:
        for rows in (slice(start, start + 2) for start in range(0, 6, 2)):
            arrays = [hidden_states.fixed_binary(values[rows]), pa.array(exponents[rows])]
            write(pa.RecordBatch.from_arrays(arrays[: len(schema)], schema=schema))
    return values if dtype == "float32" else (values.astype(np.float64) * 2.0 ** exponents[:, None]).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_states_come_back(tmp_path: Path, dtype: str) -> None:
    values = states(tmp_path / "s.parquet", dtype=dtype)
    np.testing.assert_array_equal(hidden_states.read_states(tmp_path / "s.parquet", "x.0"), values)
    group = pq.ParquetFile(tmp_path / "s.parquet").read_row_group(1)
    np.testing.assert_array_equal(hidden_states.states_of(group, "x.0"), values[2:4])
    np.testing.assert_array_equal(hidden_states.states_of(group.slice(1), "x.0"), values[3:4])
    kept = hidden_states.read_stored_states(tmp_path / "s.parquet", "x.0").reshape(3, 2)
    np.testing.assert_array_equal(kept[:, 1], values.reshape(3, 2, 4)[:, 1])
    assert kept.values.dtype == hidden_states.NUMPY_DTYPES[dtype]
    both = hidden_states.StoredStates.concatenated([kept, kept])
    np.testing.assert_array_equal(both[3:], values.reshape(3, 2, 4))


def test_the_documented_line_reads_states(tmp_path: Path) -> None:
    values = states(tmp_path / "s.parquet")
    (line,) = [line.strip() for line in str(hidden_states.__doc__).splitlines() if line.strip().startswith("np.")]
    np.testing.assert_array_equal(eval(line, {"np": np, "t": pq.read_table(tmp_path / "s.parquet"), "c": "x.0"}), values)
    assert f"states = {line}\n" in (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["1", "3"])
def test_shards_of_another_format_are_refused(tmp_path: Path, form: str) -> None:
    states(tmp_path / "s.parquet", form=form)
    with pytest.raises(InputError, match=rf"s\.parquet holds hidden states in format {form}; this version reads format 2: delete it"):
        hidden_states.read_states(tmp_path / "s.parquet", "x.0")


def test_unknown_columns_and_damaged_shards_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    states(path)
    with pytest.raises(InputError, match=r"no column 'y.0': its columns are x.0, x.0.exponent"):
        hidden_states.read_states(path, "y.0")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"s\.parquet cannot be read .* delete it"):
        hidden_states.read_states(path, "x.0")


SCHEMA = pa.schema(
    [
        ("image_id", pa.int32()),
        ("layer", pa.dictionary(pa.int8(), pa.string())),
        ("x.1", pa.binary(8)),
        ("x.10", pa.binary(8)),
        ("top5", pa.list_(pa.int32(), 2)),
    ],
    metadata={"dtype": "float16", "D": "4", "format": "2", "protocol": "paper", "model_sha256": "abc"},
)


def shard(path: Path, compression: str = "zstd") -> pa.Table:
    """A small table with a column of every kind, in two row groups."""
    rng = np.random.default_rng(0)
    with parquet.table_writer(path, SCHEMA, {}, compression=compression) as write:
        for start in (0, 2):
            layers = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["attn", "mlp"]))
            states = [hidden_states.fixed_binary(rng.normal(size=(2, 4)).astype("<f2")) for _ in range(2)]
            top = pa.FixedSizeListArray.from_arrays(pa.array(rng.integers(0, 9, 4), pa.int32()), 2)
            write(pa.RecordBatch.from_arrays([pa.array([start, start + 1], pa.int32()), layers, *states, top], schema=SCHEMA))
    return pq.read_table(path)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_every_flipped_bit_is_found(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "s.parquet"
    whole = shard(path, compression)
    content = path.read_bytes()
    assert parquet.read_table(path).equals(whole, check_metadata=True)
    for bit in range(8 * len(b"PAR1"), 8 * len(content)):  # before that, there is nothing that anybody reads
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"s\.parquet cannot be read \(.*\): delete it and run the workflow again"):
            parquet.read_table(path)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    shard(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="cannot be read"):
            parquet.StoredTable(path)


def test_only_what_is_read_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    values = shard(path, "none")["x.1"].combine_chunks()
    content = path.read_bytes()
    place = content.index(values[3].as_py())
    path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    assert parquet.read_table(path, ["x.10", "top5", "layer"]).num_columns == 3
    with pytest.raises(InputError, match=r"its column x\.1 does not have"):
        hidden_states.read_states(path, "x.1")
    groups = parquet.StoredTable(path).groups(["x.1"])
    assert next(groups).num_rows == 2
    with pytest.raises(InputError, match=r"its column x\.1 does not have"):
        next(groups)


def test_tables_of_another_model_or_protocol_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    shard(path)
    assert parquet.read_table(path, model="abc").num_rows == 4
    with pytest.raises(InputError, match=r"made with another model \(abc instead of def\): delete it"):
        hidden_states.read_states(path, "x.1", model="def")
    with parquet.reading("paper"):
        assert parquet.read_table(path).num_rows == 4
    with parquet.reading("corrected"), pytest.raises(InputError, match="made with another protocol"):
        parquet.read_table(path)


def test_drafts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".out.0123abcd.csv", ".out[1].0123abcd.txt", "out.txt")]
    for path in [*others, tmp_path / ".out.0123abcd.txt"]:
        path.touch()
    with atomic_write(tmp_path / "out.txt") as draft:
        draft.write_text("all")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "out.txt") as draft:
        draft.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_write(tmp_path / "deep" / "out.txt") as draft:
        draft.write_text("all")
    assert (tmp_path / "deep" / "out.txt").read_text() == "all"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_activations_that_cannot_be_stored_are_named(value: float, dtype: torch.dtype, note_fault: Callable[..., None]) -> None:
    activation = torch.zeros(2, 3, 4)
    found = {name: extraction.stored(activation, dtype) for name in extraction.columns(8, ("attn_out",))}
    activation[1, 2, 3] = value
    found["attn_out.7"] = extraction.stored(activation, dtype)
    schema = extraction.states_schema(8, 4, str(dtype).removeprefix("torch."), ("attn_out",))
    with pytest.raises(InputError, match="attn_out of block 7 is not finite") as caught:
        extraction.states([0, 1], found, SimpleNamespace(tokens=3), schema)
    note_fault(f"an activation is {value}", str(caught.value))


@given(
    hnp.arrays(np.float32, (5, 3), elements=st.floats(-1, 1, width=32)),
    st.lists(st.integers(-120, 120), min_size=5, max_size=5),
)
def test_float16_keeps_eleven_bits_of_the_largest_value_whatever_its_size(mantissas: np.ndarray, sizes: list[int]) -> None:
    rows = np.ldexp(mantissas, np.array(sizes)[:, None]).astype(np.float32)
    _, values, exponent = extraction.stored(torch.from_numpy(rows), torch.float16)
    largest = np.abs(values.numpy().astype(np.float64)).max(axis=1)
    assert ((largest >= 1) & (largest < 2) | (np.abs(rows).max(axis=1) < 2.0**-126)).all()
    back = hidden_states.StoredStates(values.numpy(), np.ldexp(np.float32(1), exponent.numpy()))[:]
    assert (np.abs(back.astype(np.float64) - rows).max(axis=1) <= 2.0**-11 * np.abs(rows).max(axis=1) + 2.0**-149).all()


def test_the_largest_value_of_a_row_that_rounds_up_stays_below_two() -> None:
    _, values, exponent = extraction.stored(torch.tensor([[2 - 2.0**-12, 0.5], [0.0, 0.0], [3e38, 1.0]]), torch.float16)
    assert values[0].tolist() == [1.0, 0.25]
    assert exponent[:2].tolist() == [1, 0]
    assert values.isfinite().all()


@pytest.mark.parametrize(("arch", "kwargs"), [("deit3_small_patch16_224", {}), ("vit_small_patch14_reg4_dinov2", {"patch_size": 16})])
def test_storage_does_not_change_the_ranks_of_models_with_a_small_layer_scale(arch: str, kwargs: dict) -> None:
    """Without exponents, 61 % of DeiT-III's `attn_out` ranks and 45 % of its `mlp_out` ranks changed."""
    torch.manual_seed(0)
    model = loading.build(arch, {"img_size": 64, "embed_dim": 48, "num_heads": 3, "depth": 3, **kwargs}, 100)
    names, images = extraction.columns(3), torch.randn(8, 3, 64, 64)
    with torch.inference_mode(), Trace(model, names) as trace:
        model(images)
        lens, classes = Lens.from_model(model), torch.arange(8)
        for name in names:
            _, values, exponent = extraction.stored(trace[name], torch.float16)
            back = hidden_states.StoredStates(values.numpy(), np.ldexp(np.float32(1), exponent.numpy()))[:]
            ranks = [rank(lens(states.view(8, -1, 48)), classes) for states in (trace[name], torch.from_numpy(back))]
            assert (ranks[0] != ranks[1]).float().mean() < 0.03, name


def test_code_hash_follows_imports_and_nothing_else(tmp_path: Path) -> None:
    package = tmp_path / "classlens"
    package.mkdir()
    for name, text in {"__init__": "", "used": "from classlens import deeper\n", "deeper": "x = 1\n", "unused": "y = 1\n"}.items():
        (package / f"{name}.py").write_text(text)
    script = tmp_path / "script.py"
    script.write_text("def main():\n    from classlens.used import x\n")

    def digest() -> str:
        program = f"""if True:
            from pathlib import Path
            from classlens.storage import provenance
            provenance.PACKAGE = Path({str(package)!r})
            print(provenance.code_sha256({str(script)!r}))"""
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=SCRIPTS).stdout

    before = digest()
    (package / "unused.py").write_text("y = 2\n")
    assert digest() == before
    (package / "deeper.py").write_text("x = 2\n")
    assert digest() != before


@pytest.mark.slow
def test_every_script_imports_what_its_hash_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk over imports that the hash follows sees every module of the library that a script really loads.

    The hash leaves out the settings, whose values reach programs as parameters, and what they alone import.
    """
    program = """if True:
        import runpy, sys
        from pathlib import Path
        for script in sorted(Path(".").glob("*.py")):
            for name in [name for name in sys.modules if name.split(".")[0] in ("classlens", "cli")]:
                del sys.modules[name]  # other libraries stay: loading them anew takes minutes
            runpy.run_path(str(script), run_name="loaded")
            ours = [module for name, module in sys.modules.items() if name.split(".")[0] in ("classlens", "cli")]
            print(script, *(module.__file__ for module in ours if module.__file__))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=SCRIPTS)
    loaded = {line.split()[0]: {Path(name).resolve() for name in line.split()[1:]} for line in done.stdout.splitlines()}
    assert set(loaded) == {script.name for script in SCRIPTS.glob("*.py")}
    settings = set((SCRIPTS / "classlens" / "config").iterdir())
    hashed = {name: _imported_files(SCRIPTS / name) for name in loaded}
    monkeypatch.setattr(provenance, "UNHASHED_PACKAGE", "nothing")
    forget_imports()
    for name, files in loaded.items():
        walked = _imported_files(SCRIPTS / name)
        assert files <= walked, name
        assert hashed[name] < walked if walked & settings else hashed[name] == walked, name
    forget_imports()


def forget_imports() -> None:
    provenance._direct_imports.cache_clear()
    provenance._module_files.cache_clear()


def test_fingerprints_are_remembered_and_follow_content(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jpg", tmp_path / "state" / "memory.json"
    file.write_bytes(b"one")
    assert Fingerprints(memory).of([file]) == [sha256(file)]
    file.touch()
    assert Fingerprints(memory).of([file]) == [sha256(file)]
    file.write_bytes(b"two")
    assert Fingerprints(memory).of([file]) == [sha256(file)]
    memory.write_text("{ cut short")
    assert Fingerprints(memory).of([file]) == [sha256(file)]


def test_a_fingerprint_follows_content_under_the_same_size_and_date(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jpg", tmp_path / "memory.json"
    file.write_bytes(b"one")
    stat = file.stat()
    Fingerprints(memory).of([file])
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Fingerprints(memory).of([file]) == [hashlib.sha256(b"two").hexdigest()]


def test_a_changed_file_that_a_job_finds_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that keeps no change time: the stamp that is remembered is that of the new file."""
    file, memory = tmp_path / "a.jpg", tmp_path / "memory.json"
    monkeypatch.setenv("CLASSLENS_FINGERPRINTS", str(memory))
    file.write_bytes(b"two")
    Fingerprints(memory).of([file])
    known = json.loads(memory.read_text())
    known["files"][str(file)][-1] = hashlib.sha256(b"one").hexdigest()
    memory.write_text(json.dumps(known))
    assert Fingerprints(memory).of([file]) == [hashlib.sha256(b"one").hexdigest()]
    with pytest.raises(InputError, match="run the workflow again"):
        read_unchanged(file, hashlib.sha256(b"one").hexdigest())
    for _ in range(2):
        assert Fingerprints(memory).of([file]) == [hashlib.sha256(b"two").hexdigest()]
    assert not list(memory.with_suffix(".forgotten").iterdir())
