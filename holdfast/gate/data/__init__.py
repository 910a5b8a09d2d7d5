"""The data path: a request is logged, marked, written to every leg, or read from one.

`mirror` is the centre; `write_log/` keeps what the legs have not flushed, `owing/` what they cannot
take, `write_intent/` where they may differ after a crash. Nothing here decides who may belong to
the volume (members), and nothing brings a leg back (repair).
"""
