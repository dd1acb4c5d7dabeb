"""Settings: one default each, overrides, and a message for every mistake."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.export.calibration_record import false_alarms_of
from flawmap.tiling.errors import UsageError
from flawmap.training.config import TrainConfig, load_config

CONFIGS = Path(__file__).parent.parent / "configs"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def dotted(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_default_yaml_is_the_default() -> None:
    shown = yaml.safe_load((CONFIGS / "default.yaml").read_text(encoding="utf-8"))
    assert sorted(dotted(shown)) == sorted(dotted(TrainConfig().model_dump()))  # every setting is shown
    assert load_config(CONFIGS / "default.yaml") == TrainConfig() == load_config()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    assert isinstance(load_config(path), TrainConfig)


def test_the_autoencoder_file_is_one() -> None:
    config = load_config(CONFIGS / "baselines" / "latent16.yaml")
    assert config.network.kind == "autoencoder"
    assert config.learning.steps == TrainConfig().learning.steps  # what it does not say stays


def test_overrides_win_over_the_file_which_wins_over_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, "learning:\n  steps: 7\n  batch_size: 3\nproduct: lid\n")
    config = load_config(path, ["learning.steps=9", "network.channels=[4, 8]", "learning.minutes=2.5"])
    assert (config.learning.steps, config.learning.batch_size, config.product) == (9, 3, "lid")
    assert (config.network.channels, config.learning.minutes) == ((4, 8), 2.5)
    assert config.learning.seed == 0


def test_the_last_override_wins() -> None:
    assert load_config(None, ["learning.steps=9", "learning.steps=10"]).learning.steps == 10
    assert load_config(None, ["learning.minutes=3", "learning.minutes=null"]).learning.minutes is None


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-4 as text."""
    assert load_config(written(tmp_path, "learning: {learning_rate: 1e-4}\n")).learning.learning_rate == 1e-4
    assert load_config(None, ["learning.learning_rate=1e-4"]).learning.learning_rate == 1e-4


@pytest.mark.parametrize("text", ["", "# nothing\n", "learning:\n  # steps: 5\n"])
def test_a_file_that_says_nothing_is_the_default(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)) == TrainConfig()


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().learning.steps = 3  # type: ignore[misc]


@settings(max_examples=10)
@given(steps=st.integers(1, 10**6), rate=st.floats(1e-6, 1.0), share=st.floats(0, 1))
def test_a_dump_loads_as_itself(steps: int, rate: float, share: float) -> None:
    """What stands in the bundle is enough to train the same way again."""
    learning = {"steps": steps, "learning_rate": rate}
    config = TrainConfig.model_validate({"learning": learning, "damage": {"hard_share": share}})
    dumped = config.model_dump(mode="json")
    again = load_config(None, [f"{key}={json.dumps(value)}" for key, value in dotted(dumped).items()])
    assert TrainConfig.model_validate(dumped) == config == again


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("learning.step", "learning.steps"),
        ("learning.Steps", "learning.steps"),
        ("steps", "learning.steps"),
        ("tile.overlaps", "tile.overlap"),
        ("network.chanels", "network.channels"),
        ("prodct", "product"),
        ("lerning", "learning"),
        ("split.calibrate", "split.calibrate_share"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, unknown: str, nearest: str) -> None:
    message = rf"^unknown setting `{re.escape(unknown)}`: did you mean `{re.escape(nearest)}`\?$"
    with pytest.raises(UsageError, match=message):
        load_config(None, [f"{unknown}=5"])
    *section, name = unknown.split(".")
    text = f"{section[0]}:\n  {name}: 5\n" if section else f"{name}: 5\n"
    with pytest.raises(UsageError, match=message):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize("key", dotted(TrainConfig().model_dump()))
def test_every_key_is_missed_by_a_letter(key: str) -> None:
    with pytest.raises(UsageError, match=rf"did you mean `{re.escape(key)}`"):
        load_config(None, [f"{key}x=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning.steps=many", r"`learning\.steps` \(=many\): .*valid integer"),
        ("learning.steps=0", r"`learning\.steps` \(=0\): .*greater than or equal to 1"),
        ("learning.steps=2.5", r"`learning\.steps` \(=2\.5\): .*integer"),
        ("learning.minutes=-1", r"`learning\.minutes` \(=-1\): .*greater than 0"),
        ("learning.minutes=.inf", r"`learning\.minutes` \(=inf\): .*finite"),
        ("learning.learning_rate=.nan", r"`learning\.learning_rate` \(=nan\): .*finite"),
        ("learning.loss=mae", r"`learning\.loss` \(=mae\): .*'charbonnier', 'l1', 'mse', 'bce' or 'ssim'"),
        ("network.kind=gan", r"`network\.kind` \(=gan\): .*'repair', 'autoencoder', 'hog', 'median' or 'template'"),
        ("network.channels=[8]", r"`network\.channels` \(=\[8\]\): .*at least 2 items"),
        ("network.channels=[8, 0]", r"`network\.channels\.1` \(=0\): .*greater than or equal to 1"),
        ("network.channels=8", r"`network\.channels` \(=8\): .*valid tuple"),
        ("tile.train_size=16", r"`tile\.train_size` \(=16\): .*greater than or equal to 32"),
        ("damage.untouched_share=1.5", r"`damage\.untouched_share` \(=1\.5\): .*less than or equal to 1"),
        ("split.calibrate_share=0", r"`split\.calibrate_share` \(=0\): .*greater than 0"),
        ("false_alarms=0", r"`false_alarms` \(=0\): .*greater than 0"),
        ("variation.flips=perhaps", r"`variation\.flips` \(=perhaps\): .*boolean"),
        ("tile=5", r"`tile` \(=5\): .*dictionary"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_rule(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        load_config(None, [override])


@pytest.mark.parametrize("loss", ["bce", "ssim"])
def test_losses_of_0_to_1_need_the_autoencoder(loss: str) -> None:
    with pytest.raises(UsageError, match=rf"^`learning\.loss` \(={loss}\) needs `network\.kind` \(=repair\)"):
        load_config(None, [f"learning.loss={loss}"])
    assert load_config(None, [f"learning.loss={loss}", "network.kind=autoencoder"]).learning.loss == loss


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "learning.steps",
            r"`--set` \(=learning\.steps\) must have the form key=value, for example learning\.steps=500",
        ),
        ("=5", r"`--set` \(==5\) must have the form key=value"),
        ("learning.steps=[1", r"`--set` \(=learning\.steps=\[1\): the value is not valid YAML"),
        ("product.name=x", r"unknown setting `product\.name`|`product` \(=\{'name': 'x'\}\)"),
    ],
)
def test_an_override_of_another_form(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(None, [override])


def test_an_override_below_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, "product: lid\n")
    with pytest.raises(UsageError, match=r"`--set` \(=product\.name=x\): `product` is a value, not a section"):
        load_config(path, ["product.name=x"])


@pytest.mark.parametrize(("text", "kind"), [("- 1\n- 2\n", "list"), ("learning\n", "str"), ("5\n", "int")])
def test_a_file_that_holds_no_settings(tmp_path: Path, text: str, kind: str) -> None:
    with pytest.raises(UsageError, match=rf"settings\.yaml\) must hold settings as `key: value`, not {kind}"):
        load_config(written(tmp_path, text))


def test_a_key_that_is_no_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="5"):
        load_config(written(tmp_path, "5: 3\n"))


@pytest.mark.parametrize("content", [b"learning: [", b"a: b: c\n", b"\xff\xfe\x00", b"\t- x"])
def test_a_file_that_is_not_yaml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"`--config` \(=.*settings\.yaml\) is not valid YAML: \S"):
        load_config(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`--config` \(=.*none\.yaml\) cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory"):
        load_config(tmp_path)
    secret = written(tmp_path, "product: lid\n")
    secret.chmod(0)
    if os.geteuid() != 0:  # root reads everything
        with pytest.raises(UsageError, match=r"cannot be read: Permission denied"):
            load_config(secret)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_quantile_is_a_rate_of_false_alarms(quantile: float, quoted: bool) -> None:
    config = load_config(None, [f"quantile='{quantile}'" if quoted else f"quantile={quantile}"])
    assert config.quantile == quantile
    assert math.exp(-config.false_alarms) == pytest.approx(quantile)
    assert false_alarms_of(None, quantile) == config.false_alarms  # as the command line says it
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_quantile_and_false_alarms_are_one_thing() -> None:
    message = r"^`quantile` \(=0\.95\) and `false_alarms` \(=0\.1\) set the same threshold: give one of them$"
    with pytest.raises(UsageError, match=message):
        load_config(None, ["quantile=0.95", "false_alarms=0.1"])
    assert load_config(None, ["quantile=null", "false_alarms=0.2"]).false_alarms == 0.2


@pytest.mark.parametrize(("value", "rule"), [("0", "greater than 0"), ("1", "less than 1"), ("high", "valid number")])
def test_a_quantile_that_is_none(value: str, rule: str) -> None:
    with pytest.raises(UsageError, match=rf"^`quantile` \(={value}\): .*{rule}"):
        load_config(None, [f"quantile={value}"])
