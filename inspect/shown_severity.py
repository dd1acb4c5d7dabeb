"""Severities as people are shown them; records and tables keep the numbers.

A severity of 700 stands for one false region in 10^700 images. The calibration's tail says so of a score far beyond all
that good images show, and it means no more than "certainly": shown as a number it would pass for a measurement, and
stretch every axis until the thresholds cannot be told apart.
"""

WORDS_MAX = 99.0
PLOTTED_MAX = 20.0  # what lies beyond is drawn there


def shown_severity(severity: float) -> str:
    """Two decimals; `>99` beyond that."""
    return f"{round(severity, 2) + 0.0:.2f}" if severity <= WORDS_MAX else f">{WORDS_MAX:g}"  # + 0.0: no minus zero
