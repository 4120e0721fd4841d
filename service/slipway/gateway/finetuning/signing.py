"""Signs the addresses at which a Job on a cluster reads the examples of its FineTune.

Examples are not in the object: it says where the first Job reads them, an address of the gateways that is
signed for one job and one file, and holds for a few days. The signature is made with a secret that all
gateways share, so nothing has to be stored, no object storage is needed, and gateways need no right to make
Secrets. Who may read FineTunes of that namespace can read the examples for that time.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

HOLDS = 7 * 86_400
"""Seconds that an address holds after its job was made."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Signs, and tells what it has signed."""

    secret: Callable[[], bytes]
    """The engines' key; b"" where there is none, and then nothing holds."""

    def sign(self, job: str, part: str, expires: int) -> str:
        """The signature for a part of a job's examples, until `expires` (seconds since 1970)."""
        key = hmac.digest(self.secret(), b"fine-tuning examples", "sha256")
        return hmac.new(key, f"{job}\0{part}\0{expires}".encode(), sha256).hexdigest()

    def holds(self, job: str, part: str, expires: int, signature: str, now: float) -> bool:
        """Whether a signature is good, and still is."""
        good = hmac.compare_digest(self.sign(job, part, expires), signature)
        return good and bool(self.secret()) and now < expires
