from pathlib import Path

import onnx
import onnxruntime
import pytest

from flawmap.inspect.doctor import ONE_NODE_MODEL, Finding, examine
from flawmap.inspect.machine import peak_memory_mib, total_memory_gib, versions

NAMES = [
    "python",
    "flawmap",
    "onnxruntime",
    "providers",
    "cuda",
    "openvino",
    "cores",
    "memory",
    "opencv",
    "compiled kernels",
    "training",
    "disk",
]


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine()}


def test_everything_is_looked_at(findings: dict[str, Finding]) -> None:
    assert list(findings) == NAMES
    assert all(finding.text and "\n" not in finding.text for finding in findings.values())


def test_what_the_suite_itself_needs_is_there(findings: dict[str, Finding]) -> None:
    for name in ("python", "flawmap", "onnxruntime", "providers", "opencv", "training"):
        assert findings[name].level == "ok", findings[name]
    assert findings["flawmap"].text == versions()["flawmap"]
    assert onnxruntime.__version__ in findings["onnxruntime"].text
    assert "cpu" in findings["providers"].text


def test_the_model_of_one_node_is_one() -> None:
    onnx.checker.check_model(onnx.load_from_string(ONE_NODE_MODEL))
    session = onnxruntime.InferenceSession(ONE_NODE_MODEL, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": [3.0]})[0] == [3.0]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "below", tmp_path / "file"):
        disk = examine(place)[-1]
        assert (disk.name, disk.level) == ("disk", "problem")
        assert "cannot be" in disk.text


def test_memory_is_told() -> None:
    total, peak = total_memory_gib(), peak_memory_mib()
    assert total is not None and 0.1 < total < 1e5
    assert peak is not None and 10 < peak < total * 1024
