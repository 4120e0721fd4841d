"""The step `deduplicate`: only its options; the work is done over all records at once (see `duplicates`)."""

from pydantic import Field

from slipway.training.data.steps import options


class Deduplicate:
    """Leaves one record of those that are the same, or nearly."""

    class Options(options.Options):
        """Options of `deduplicate`."""

        near: bool = True
        """Also records that nearly are the same."""
        threshold: float = Field(default=0.8, ge=0.7, le=1)
        """Share of runs of three words that two texts have in common (Jaccard, estimated by MinHash)."""
