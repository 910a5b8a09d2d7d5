"""The state directory: the journal, gate.json, receipts."""
