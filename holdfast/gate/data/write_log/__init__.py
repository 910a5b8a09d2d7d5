"""Logs of writes that the legs have not flushed: one Protocol, and a log for each journal mode."""

from __future__ import annotations

from holdfast.gate.data.write_log.continuous import Continuous
from holdfast.gate.data.write_log.protocol import WriteLog
from holdfast.gate.data.write_log.unflushed import Unflushed
from holdfast.gate.data.write_log.unjournalled import Unjournalled

__all__ = ["Continuous", "Unflushed", "Unjournalled", "WriteLog"]
