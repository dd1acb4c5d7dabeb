"""How much of a picture may be decoded in one go where only a part of it is wanted."""

from flawmap.tiling.image_header import UnreadableError

WHOLE_BYTES = 1 << 30  # beside all else that an inspection holds, within 2 GiB


def check_whole(n_bytes: int, what: str) -> None:
    """UnreadableError, naming the size and the rule, for `what` of more than WHOLE_BYTES."""
    if n_bytes > WHOLE_BYTES:
        raise UnreadableError(
            f"{what} take {n_bytes / 2**20:,.0f} MiB, and cannot be decoded in parts: at most "
            f"{WHOLE_BYTES >> 20:,} MiB are allowed; save the picture as TIFF with short strips, or as BMP"
        )
