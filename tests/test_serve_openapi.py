"""schemathesis throws requests at everything that the OpenAPI document of `flawmap serve` names: no answer is a 500.

Every answer must also have a status, a media type and a body that the document promises.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from flawmap.inspect.folder import inspect_folder
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.serving import Service, in_process

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("openapi")
    bundle = make_bundle(folder / "toy").folder
    (folder / "images").mkdir()
    write_image(folder / "images" / "part.png", good_image(60, 90, defects=2))
    inspect_folder([folder / "images"], bundle, folder / "runs" / "monday")
    with in_process(folder / "runs", bundle, TOKEN, allow=(folder / "images",)) as service:
        yield service


# Of the one run, so that requests also come through to what lies below it.
KNOWN = {"run": "monday", "image": "part.png", "region": 1, "path": "index.html"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("known", [False, True])
def test_every_answer_is_one_that_the_document_names(served: Service, mode: GenerationMode, known: bool) -> None:
    ask_everything(served, mode, known, n_examples=3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("known", [False, True])
def test_the_same_a_hundred_times(served: Service, mode: GenerationMode, known: bool) -> None:
    ask_everything(served, mode, known, n_examples=100)


def ask_everything(served: Service, mode: GenerationMode, known: bool, n_examples: int) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", served.app, headers=BEARER)
    asked = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(max_examples=n_examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            if known and case.path_parameters:
                case.path_parameters |= {name: KNOWN[name] for name in case.path_parameters}
            # But for two of its checks: no document can say which bytes are an image, or which runs there are.
            case.call_and_validate(headers=BEARER, excluded_checks=[positive_data_acceptance, negative_data_rejection])

        with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parameter
            ask()
            asked.add(operation.label)
    assert {"POST /api/inspect", "GET /api/runs/{run}/images"} <= asked
    assert mode is GenerationMode.NEGATIVE or len(asked) >= 10
