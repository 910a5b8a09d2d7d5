"""The API of this host, asked by a program of yours: typed, and with the errors that calls raise.

    client            Client, and the jobs that it begins
    async_client      the same, for a program with an event loop
    asking            what can be asked, once for both: a request, and how its answer is read
    hearing           events, as they come line by line
    reaching          the way to the socket, and what it means that nobody answers

Invariant: both clients ask the same and read the same. Needs httpx (`holdfast[client]`);
docs/api.md.
"""

from holdfast.client.async_client import AsyncClient, AsyncRemoteJob
from holdfast.client.client import Client, RemoteJob

__all__ = ["AsyncClient", "AsyncRemoteJob", "Client", "RemoteJob"]
