import os
import re
import subprocess
import sys
from pathlib import Path

from flawmap.tiling.compiled import compiled

FIND = """
import logging, sys
import numpy as np
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
from flawmap.tiling.tile_kernels import copy_tiles
tiles = np.zeros((1, 4, 4), np.uint8)
copy_tiles(np.zeros((4, 4), np.uint8), np.zeros((1, 2), np.int64), 1, False, tiles, 0, 1)
"""


def test_a_kernel_that_cannot_be_kept_on_disk_is_compiled_all_the_same() -> None:
    namespace: dict[str, object] = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<no file, so no place for a cache>", "exec"), namespace)
    kernel = compiled(namespace["double"])  # type: ignore[type-var]
    assert kernel(21) == 42  # type: ignore[operator]
    assert kernel.signatures  # type: ignore[attr-defined]  # by numba


def test_a_kernel_with_a_file_is_kept_on_disk() -> None:
    from flawmap.tiling.tile_kernels import copy_tiles

    assert copy_tiles.stats.cache_path  # type: ignore[attr-defined]


def said(cache: Path) -> list[str]:
    """What a process says that runs a kernel with this cache folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    run = subprocess.run([sys.executable, "-c", FIND], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_the_first_start_says_that_it_compiles_and_the_second_is_quiet(tmp_path: Path) -> None:
    (line,) = said(tmp_path)  # once, though several functions are compiled
    assert re.fullmatch(
        rf"compiling for this machine takes some seconds, at the first start only \(kept in {tmp_path}.*\)", line
    )
    assert said(tmp_path) == []


def test_where_nothing_can_be_kept_every_start_says_what_to_do() -> None:
    name = "flawmap.tiling.unkept"
    code = (
        "import logging, sys\n"
        'logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)\n'
        "from flawmap.tiling.compiled import compiled\n"
        f"space = {{'__name__': {name!r}}}\n"
        "exec(compile('def double(x):\\n    return 2 * x\\n', '<no file>', 'exec'), space)\n"
        "compiled(space['double'])(21)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "at every start: set NUMBA_CACHE_DIR to a folder that can be written" in run.stdout
