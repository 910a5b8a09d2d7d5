"""Connections of Unix sockets that hold a volume: others, which hold none, take their places.

`making` them changes nothing that any process has; `exchange` puts them into the processes.
"""
