"""The storage driver of one volume: no request is lost or failed while there is any hope.

A keeper process owns the kernel connection and forks the worker that serves requests. Only
standard-library modules are loaded here, because the worker's memory is locked.
"""
