"""Who belongs to a volume: superblocks, the rules of membership, the roster, an opened leg.

A leg becomes a source only when it provably holds everything that was acknowledged.
"""
