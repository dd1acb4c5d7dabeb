"""Half precision is for machines that have units for it, told by their flags."""

from pathlib import Path

import pytest

from flawmap.training.precision import precision_for

CPUINFO = "processor\t: 0\nmodel name\t: some CPU\nflags\t\t: fpu sse2 avx2 {}\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512f", "32-true"), ("avx512f avx512_bf16 x", "bf16-mixed"), ("amx_bf16", "bf16-mixed"), ("", "32-true")],
)
def test_a_cpu_is_told_by_its_flags(tmp_path: Path, flags: str, expected: str) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO.format(flags))
    assert precision_for("cpu", file) == expected


def test_a_system_without_flags_computes_in_full(tmp_path: Path) -> None:
    assert precision_for("cpu", tmp_path / "none") == "32-true"


def test_a_gpu_computes_in_half(tmp_path: Path) -> None:
    assert precision_for("gpu", tmp_path / "none") == "16-mixed"
