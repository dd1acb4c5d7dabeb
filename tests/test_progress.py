import io

import pytest

from flawmap.inspect.console import printable
from flawmap.inspect.progress import progress, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_now_and_then_and_at_the_end() -> None:
    stream = io.StringIO()
    with progress("inspecting", 100, stream=stream, seconds=3600) as step:
        for number in range(100):
            step(f"part{number}.png: OK")
    assert stream.getvalue().splitlines() == [
        "inspecting 1/100: part0.png: OK",
        "inspecting 100/100: part99.png: OK",
    ]


def test_a_line_for_each_where_steps_are_slow() -> None:
    stream = io.StringIO()
    with progress("training", 3, stream=stream, seconds=0) as step:
        for loss in ("0.5", "0.25", "0.125"):
            step(loss)
    assert stream.getvalue().splitlines() == ["training 1/3: 0.5", "training 2/3: 0.25", "training 3/3: 0.125"]


def test_breaking_off_says_how_far_it_came() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), progress("inspecting", 5, stream=stream, seconds=3600) as step:
        step("a")
        step("b")
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines() == ["inspecting 1/5: a", "inspecting 2/5: b"]


def test_nothing_to_do_is_said_too() -> None:
    stream = io.StringIO()
    with progress("inspecting", 0, stream=stream):
        pass
    assert stream.getvalue() == "inspecting 0/0\n"


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with progress("inspecting", 2, stream=stream) as step:
        step("[red]part[/red]\udce9.png: OK")
        step("part1.png: NG")
    assert "inspecting" in stream.getvalue() and "2/2" in stream.getvalue() and "part1.png: NG" in stream.getvalue()


def test_silence() -> None:
    with silent("inspecting", 2) as step:
        step("x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("部品.png", "部品.png"), ("a\nb\x1b[0m", "a?b?[0m"), ("latin-\udce9.png", "latin-\\xe9.png")],
)
def test_text_fits_on_one_line_of_any_console(text: str, shown: str) -> None:
    assert printable(text) == shown
