"""When a picture is too large for what would hold it as a whole: a decoder, or a step that sees all of it at once."""

from flawmap.tiling.image_header import UnreadableError

WHOLE_BYTES = 1 << 30  # beside all else that an inspection holds, within 2 GiB


def check_whole(n_bytes: int, what: str) -> None:
    """UnreadableError, naming the size and the rule, for `what` of more than WHOLE_BYTES."""
    if n_bytes > WHOLE_BYTES:
        raise UnreadableError(
            f"{what} take {n_bytes / 2**20:,.0f} MiB, and cannot be decoded in parts: at most "
            f"{WHOLE_BYTES >> 20:,} MiB are allowed; save the picture as TIFF with short strips, or as BMP"
        )


def too_large(size: tuple[int, int], needs_whole: str) -> str:
    """Why a picture of `size` (height, width) cannot be worked on where something needs it whole."""
    return (
        f"{size[1]}x{size[0]} px is too large to be held as a whole, which {needs_whole} needs: "
        "train without it to inspect such pictures in bands of rows"
    )
