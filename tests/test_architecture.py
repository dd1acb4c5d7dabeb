"""Who may import whom, and names that would break Python: read from the source, not from what happens to be loaded."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tiling", "training", "export", "inspect", "configs", "sample_data")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# The rooms of inspect/, floor by floor: a room imports rooms of the floors below its own, never a neighbour on its own.
FLOORS = (
    {"scoring", "run"},  # the ground: of inspect/ they import themselves alone
    {"calibration", "rules", "recipe"},  # what decides
    {"report", "evaluation", "detection_limit", "exchange", "line", "service", "review"},  # one subject each
    {"after_review", "watch"},  # front rooms, from here on: they put together what a command does
    {"serve"},
    {"commands"},
)
FRONT_ROOMS = set().union(*FLOORS[3:])
# What a command may load once it runs, and only then: so inspecting never loads torch.
BY_COMMAND = {
    Path("inspect/commands/bundle.py"): {"training", "export"},
    Path("inspect/commands/demo.py"): {"sample_data"},
}
# What inspecting may use of export.
WITHOUT_TORCH = (
    "export/bundle.py",
    "export/bundle_seal.py",
    *(f"export/{name}_record.py" for name in ("calibration", "part", "where", "rules", "limits")),
)
TRAINING_DEPENDENCIES = ("torch", "pytorch_lightning", "albumentations", "onnx", "onnxscript")
# What each package may import of flawmap beside itself.
ALLOWED = {
    "tiling": set(),
    "training": {"tiling", "configs"},
    "export": {"tiling", "training"},
    "inspect": {"tiling"},
    "configs": set(),
    "sample_data": {"tiling"},
}


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it is imported when the module is) of everything that `module` imports."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    inside = {id(child) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: line {node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", id(node) not in inside) for alias in node.names)


def is_bundle(name: str) -> bool:
    modules = ("flawmap." + path.removesuffix(".py").replace("/", ".") for path in WITHOUT_TORCH)
    return any(name == module or name.startswith(module + ".") for module in modules)


def test_there_is_something_to_check() -> None:
    assert {module.parts[0] for module in MODULES} >= {"tiling", "training", "export", "inspect"}
    assert any(name.startswith("flawmap.tiling") for module in MODULES for name, _ in imports(module))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_one_way(module: Path) -> None:
    package = module.parts[0]
    for name, at_import in imports(module):
        if not name.startswith("flawmap."):
            continue
        imported = name.split(".")[1]
        if imported == package or imported in ALLOWED[package]:
            continue
        if package == "inspect" and is_bundle(name):
            continue
        if imported in BY_COMMAND.get(module, ()) and not at_import:
            continue
        pytest.fail(f"{module} must not import {name}")


def test_every_room_of_inspect_has_its_floor() -> None:
    rooms = [room for floor in FLOORS for room in floor]
    assert sorted(rooms) == sorted({m.parts[1] for m in MODULES if m.parts[0] == "inspect" and len(m.parts) > 2})


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] == "inspect"], ids=str)
def test_rooms_of_inspect_stand_on_those_below(module: Path) -> None:
    """The files right in inspect/ serve the rooms above the ground and use all but the front rooms."""
    if module == Path("inspect/cli.py"):
        allowed = {"commands"}
    elif len(module.parts) == 2:
        allowed = set().union(*FLOORS) - FRONT_ROOMS
    else:
        own = next(number for number, floor in enumerate(FLOORS) if module.parts[1] in floor)
        allowed = set().union({module.parts[1]}, *FLOORS[:own])
    for name, _ in imports(module):
        assert not name.startswith(("flawmap.inspect.cli", "flawmap.inspect.inspector")), f"{module} imports {name}"
        if not name.startswith("flawmap.inspect."):
            continue
        imported = name.split(".")[2]
        if (ROOT / "inspect" / imported).is_dir() or module.parts[1] in FLOORS[0]:
            assert imported in allowed, f"{module} must not import {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] in ("tiling", "inspect", "configs")], ids=str)
def test_the_line_needs_no_training_dependency(module: Path) -> None:
    for name, _ in imports(module):
        assert name.split(".")[0] not in TRAINING_DEPENDENCIES, f"{module} must not import {name}"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_bundle_stands_alone(module: str) -> None:
    for name, _ in imports(Path(module)):
        assert name.split(".")[0] not in TRAINING_DEPENDENCIES
        assert not name.startswith("flawmap.") or name.startswith("flawmap.tiling.") or is_bundle(name), name


def test_modules_have_names_of_their_own() -> None:
    """A module named like one of Python's, or of a dependency, is imported in its place one day."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    taken -= {"tests", "flawmap", "__init__"}
    assert {"json", "html", "queue", "onnx", "numpy"} <= taken
    clashes = [str(m) for m in MODULES if m.stem in taken]
    clashes += [str(m.parent) for m in MODULES if len(m.parts) > 2 and m.parts[-2] in taken]
    assert clashes == []


def test_inspect_is_the_standard_librarys() -> None:
    assert not (ROOT / "inspect" / "__init__.py").exists()
    code = "import inspect; print(inspect.__file__); inspect.signature(len)"
    for folder in (ROOT, ROOT / "tests"):
        run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        assert ROOT not in Path(run.stdout.strip()).parents


def test_inspecting_never_loads_torch() -> None:
    code = (
        "import sys, flawmap.inspect.folder, flawmap.inspect.pipeline, flawmap.inspect.scoring.runtime\n"
        "import flawmap.inspect.doctor\n"
        "flawmap.inspect.doctor.examine()\n"
        f"loaded = [name for name in {TRAINING_DEPENDENCIES!r} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    """`flawmap --help` answers at once."""
    heavy = ("numpy", "cv2", "numba", "onnxruntime", "pydantic", "rich", "matplotlib", "fastapi", "sqlalchemy", "torch")
    code = f"import sys, flawmap.inspect.cli; loaded = set({heavy!r}) & set(sys.modules); assert not loaded, loaded"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_package_folder_is_listed() -> None:
    """setuptools takes what is listed: a forgotten folder is missing from the wheel, and from nowhere else."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    on_disk = {module.parent for module in MODULES}
    assert {Path(folder) for folder in setuptools["package-dir"].values()} == on_disk
    assert {"flawmap." + ".".join(folder.parts) for folder in on_disk} == set(setuptools["packages"])
    for package, folder in setuptools["package-dir"].items():
        assert package == "flawmap." + folder.replace("/", ".")


def test_no_test_imports_another() -> None:
    """What two of them need lies in a file of its own."""
    for path in (ROOT / "tests").rglob("*.py"):
        for name, _ in imports(path.relative_to(ROOT)):
            assert not name.startswith("tests.test_"), f"{path}: {name}"
