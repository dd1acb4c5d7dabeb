from flawmap.tiling.compiled import compiled


def test_a_kernel_that_cannot_be_kept_on_disk_is_compiled_all_the_same() -> None:
    namespace: dict[str, object] = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<no file, so no place for a cache>", "exec"), namespace)
    kernel = compiled(namespace["double"])  # type: ignore[type-var]
    assert kernel(21) == 42  # type: ignore[operator]
    assert kernel.signatures  # type: ignore[attr-defined]  # by numba


def test_a_kernel_with_a_file_is_kept_on_disk() -> None:
    from flawmap.tiling.tile_kernels import copy_tiles

    assert copy_tiles.stats.cache_path  # type: ignore[attr-defined]
