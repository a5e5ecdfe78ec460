"""What of py-libp2p 0.8.1 is deliberately absent from a node, and how that absence is made safe.

glasslog uses libp2p's peer identities, multistream-select, Noise and gossipsub, and carries its own Yamux, listener
and dialler (host.py). Importing the library as shipped needs ``fastecdsa``, which has no Linux wheel and hence a
compiler, and loads QUIC, TLS, WebSocket, relay, DHT and ACME code that a node neither uses nor wants reachable
from a peer. ``install`` therefore puts into ``sys.modules``, before anything of libp2p is imported:

- *bare packages*: the library's own packages without their ``__init__``, so that only the modules we name load;
- *stand-ins*: modules whose every attribute is a class that raises ``AbsentError`` when called or built. They
  serve key types (RSA, ECDSA, secp256k1) and a transport (QUIC) that glasslog refuses: a peer that sends such a key
  fails its handshake with that error.

Nothing here pretends to work: a stand-in that is ever used raises.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from types import ModuleType
from typing import NoReturn

from glasslog_node.errors import NetworkError

VERSION = "0.8.1"

BARE_PACKAGES = (
    "libp2p",
    "libp2p.crypto",
    "libp2p.network",
    "libp2p.security",
    "libp2p.transport",
    "libp2p.transport.quic",
)
STAND_INS = (
    "fastecdsa",
    "fastecdsa.curve",
    "fastecdsa.ecdsa",
    "fastecdsa.encoding",
    "fastecdsa.encoding.sec1",
    "fastecdsa.encoding.util",
    "fastecdsa.keys",
    "fastecdsa.point",
    "libp2p.crypto.ecc",
    "libp2p.crypto.rsa",
    "libp2p.crypto.secp256k1",
    "libp2p.transport.quic.stream",
)


class AbsentError(RuntimeError):
    """Something deliberately left out was used: a foreign key type, or a bug of ours."""


class _AbsentType(type):
    """Makes every attribute of an absent class a function that raises."""

    def __getattr__(cls, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{cls.__module__}.{cls.__name__}.{name}"

        def refuse(*_args: object, **_kwargs: object) -> NoReturn:
            raise AbsentError(f"{path} is deliberately absent from glasslog")

        return refuse

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise AbsentError(f"{cls.__module__}.{cls.__name__} is deliberately absent from glasslog")


class _AbsentModule(ModuleType):
    """A module in which every name exists and nothing can be used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        absent = _AbsentType(name, (), {"__module__": self.__name__})
        setattr(self, name, absent)
        return absent


def install() -> None:
    """Prepare ``sys.modules`` for a lean import of libp2p; harmless when called again.

    Raises:
        NetworkError: libp2p is missing or of another version than the one this package hardens.
    """
    root = sys.modules.get("libp2p")
    if isinstance(root, _BarePackage):
        return
    check_version()
    if root is not None:
        # Somebody imported the whole library first: it works, only heavier.
        return
    spec = importlib.util.find_spec("libp2p")
    if spec is None or not spec.submodule_search_locations:
        raise NetworkError("NET-02", "libp2p cannot be found", "install glasslog[node]")
    folder = spec.submodule_search_locations[0]
    for name in BARE_PACKAGES:
        _register(_BarePackage(name, folder + name[len("libp2p") :].replace(".", "/")))
    for name in STAND_INS:
        # The real fastecdsa, where somebody has it, is left out too: one behaviour everywhere.
        module = _AbsentModule(name)
        module.__path__ = []
        _register(module)


def check_version() -> None:
    """Refuse every libp2p but the one whose internals network/ relies on.

    Raises:
        NetworkError: another version, or none.
    """
    try:
        found = importlib.metadata.version("libp2p")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != VERSION:
        raise NetworkError("NET-02", f"libp2p {VERSION} is required, found {found}", f"pip install libp2p=={VERSION}")


class _BarePackage(ModuleType):
    """A package of the library without the work of its ``__init__``."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self.__path__ = [folder]
        self.__version__ = VERSION


def _register(module: ModuleType) -> None:
    sys.modules[module.__name__] = module
    parent, _, child = module.__name__.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
