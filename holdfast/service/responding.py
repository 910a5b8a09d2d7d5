"""What the daemon asks a job for: to do what a volume's policy says, if it is still to be done."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt
from holdfast.service.requests import OperationRequest


@dataclass(frozen=True)
class RespondRequest(OperationRequest[Receipt | None]):
    """A volume whose storage is lost, or of which somebody died in the middle of restoring it.

    Nothing in it is believed but how long that has been so: everything is looked at again when
    nobody else can change the volume.
    """

    volume: str
    lost_seconds: float = 0.0
    evidence: str = ""
    """What was seen of it, for the receipt."""
