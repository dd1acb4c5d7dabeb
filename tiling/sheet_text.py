"""Texts for a table that somebody will open in a spreadsheet, where a file called `=HYPERLINK(...).png` is a formula.

https://owasp.org/www-community/attacks/CSV_Injection
"""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def sheet_text(text: str) -> str:
    """`text` as a cell: an apostrophe goes before what a spreadsheet would work out, and before nothing else."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
