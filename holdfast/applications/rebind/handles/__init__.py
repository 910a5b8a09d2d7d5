"""The kinds of handles: one file each, one Protocol.

DRIVERS has those that can be moved; whatever is not in it blocks a rebind (see verdicts).
"""

from __future__ import annotations

from holdfast.applications.rebind.handles.connection import ConnectionDriver
from holdfast.applications.rebind.handles.device import DeviceDriver
from holdfast.applications.rebind.handles.directory import DirectoryDriver
from holdfast.applications.rebind.handles.executable import ExecutableDriver
from holdfast.applications.rebind.handles.fanotify import FanotifyDriver
from holdfast.applications.rebind.handles.fifo import FifoDriver
from holdfast.applications.rebind.handles.file import FileDriver
from holdfast.applications.rebind.handles.inotify import InotifyDriver
from holdfast.applications.rebind.handles.map import MapDriver
from holdfast.applications.rebind.handles.opening import OpeningDriver
from holdfast.applications.rebind.handles.path import PathDriver
from holdfast.applications.rebind.handles.protocol import HandleDriver
from holdfast.applications.rebind.handles.root import RootDriver
from holdfast.applications.rebind.handles.sender import SenderDriver
from holdfast.applications.rebind.handles.socket import SocketDriver
from holdfast.applications.rebind.handles.working_directory import WorkingDirectoryDriver
from holdfast.model.handle import HandleKind

DRIVERS: dict[HandleKind, HandleDriver] = {
    HandleKind.FILE: FileDriver(),
    HandleKind.FIFO: FifoDriver(),
    HandleKind.OPENING: OpeningDriver(),
    HandleKind.DEVICE: DeviceDriver(),
    HandleKind.DIRECTORY: DirectoryDriver(),
    HandleKind.PATH: PathDriver(),
    HandleKind.MAP: MapDriver(),
    HandleKind.EXECUTABLE: ExecutableDriver(),
    HandleKind.ROOT: RootDriver(),
    HandleKind.WORKING_DIRECTORY: WorkingDirectoryDriver(),
    HandleKind.SOCKET: SocketDriver(),
    HandleKind.SENDER: SenderDriver(),
    HandleKind.CONNECTION: ConnectionDriver(),
    HandleKind.INOTIFY: InotifyDriver(),
    HandleKind.FANOTIFY: FanotifyDriver(),
}
"""In the order in which handles are parked and rebound: the program after its maps (the kernel
wants that), the working directory after the root; sockets in a pass of their own, because each is
made in one process for all; watches last, in another, so that they do not see what we open."""

__all__ = ["DRIVERS", "HandleDriver"]
