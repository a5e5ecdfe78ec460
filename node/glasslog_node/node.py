"""From a configuration to a running node: opens what it needs in the order in which failing is cheapest."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from functools import partial

import structlog
import trio

from glasslog.agreement.config import Timing
from glasslog.checkpoint import CosignerKeys
from glasslog.entry import Member, Role
from glasslog.identity import Ed25519Key, MlDsa44Key
from glasslog_node.api.app import node_app
from glasslog_node.api.node_routes import Writes
from glasslog_node.api.requests import BodyLimits
from glasslog_node.api.server import open_listener, serve
from glasslog_node.config import NodeConfig, split_address
from glasslog_node.errors import ConfigError
from glasslog_node.genesis import NetworkGenesis, load_genesis
from glasslog_node.keys import Purpose, decode_token, read_key, read_private_file
from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.transport import Transport
from glasslog_node.no_desk import NoDesk
from glasslog_node.reader import StoreReader
from glasslog_node.runtime import Runtime, ValidatorKeys
from glasslog_node.store.index import Index
from glasslog_node.store.store import Store
from glasslog_node.submit import Author, AuthorLimits, Signer
from glasslog_node.telemetry import Metrics, exempt_startup
from glasslog_node.view import RuntimeView


def timing_of(config: NodeConfig) -> Timing:
    """Return the replica's patience as configured."""
    timers, pacing = config.timers, config.pacing
    return Timing(
        delay=timers.delay_ms,
        fetch=timers.fetch_ms,
        timeout_max=timers.view_ms_max,
        pace=pacing.height_interval_ms,
        status=timers.status_ms,
        proof_of_life=timers.cosign_idle_ms,
    )


def _key(config: NodeConfig, purpose: Purpose, public: bytes | None) -> Ed25519Key | MlDsa44Key:
    """Read one key and hold it against the membership: a wrong key would sign what nobody accepts."""
    seed = read_key(config.keys, purpose, config.name).seed
    key = MlDsa44Key(seed) if purpose is Purpose.COSIGN_MLDSA44 else Ed25519Key(seed)
    if key.public != public:
        fact = f"the {purpose.value} key in {config.keys} is not the one the genesis has for {config.name}"
        raise ConfigError("KEY-09", fact, "put the right key there, or rotate the key")
    return key


def _ed25519(config: NodeConfig, purpose: Purpose, public: bytes | None) -> Ed25519Key:
    key = _key(config, purpose, public)
    assert isinstance(key, Ed25519Key)
    return key


def validator_keys(config: NodeConfig, member: Member, network: NetworkGenesis) -> ValidatorKeys | None:
    """Return a validator's keys, each checked against the membership; None for other roles.

    Raises:
        ConfigError: KEY-nn, a key is missing, open to others, damaged, or not the one admitted.
    """
    if member.role is not Role.VALIDATOR:
        return None
    mldsa44 = _key(config, Purpose.COSIGN_MLDSA44, member.cosign_mldsa44)
    assert isinstance(mldsa44, MlDsa44Key)
    cosigner = CosignerKeys(
        f"{member.name}/{network.genesis.network}",
        _ed25519(config, Purpose.LOG, member.log_key),
        _ed25519(config, Purpose.COSIGN_ED25519, member.cosign_ed25519),
        mldsa44,
    )
    return ValidatorKeys(_ed25519(config, Purpose.VOTE, member.vote_key).sign, cosigner)


def make_transport(config: NodeConfig, member: Member, network: NetworkGenesis) -> Libp2pTransport:
    """Return the node's transport: every member by its network key, dialled where an address is configured."""
    unknown = sorted(set(config.network.peers) - {other.name for other in network.membership.members})
    if unknown:
        raise ConfigError("CONFIG-20", f"network.peers names {unknown[0]}, who is no member", "remove it")
    members: dict[str, PeerAddress] = {}
    for other in network.membership.members:
        if other.network_key is None:
            continue
        address = config.network.peers.get(other.name)
        endpoint = None if address is None else Endpoint(*split_address(address))
        members[other.name] = PeerAddress(other.network_key, endpoint)
    _ed25519(config, Purpose.NETWORK, member.network_key)
    seed = read_key(config.keys, Purpose.NETWORK, config.name).seed
    listen = Endpoint(*split_address(config.network.listen))
    return Libp2pTransport(config.name, seed, listen, members, genesis_hash=network.hash)


def make_author(config: NodeConfig, member: Member, runtime: Runtime, network: NetworkGenesis) -> Author | None:
    """Return the author's pipeline, or None for a member that authors nothing."""
    if member.author_key is None:
        return None
    signer = Signer(config.name, network.hash, _ed25519(config, Purpose.AUTHOR, member.author_key).sign)
    limits = AuthorLimits(
        quota_entries=member.quota_entries,
        quota_bytes=member.quota_bytes,
        spool_entries_max=config.http.spool_entries_max,
        seal_interval=config.pacing.seal_interval_ms / 1000,
        republish=config.pacing.republish_ms / 1000,
    )
    return Author(
        signer,
        runtime.store,
        limits,
        offer=runtime.offer,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        metrics=runtime.metrics,
        lost=runtime.store.state_lost,
    )


def check_keys(config: NodeConfig, member: Member, network: NetworkGenesis) -> None:
    """Read every key this member needs before anything is opened: then a refused start leaves nothing behind.

    Raises:
        ConfigError: KEY-nn, a key is missing, open to others, damaged, or not the one admitted.
    """
    validator_keys(config, member, network)
    if member.author_key is not None:
        _ed25519(config, Purpose.AUTHOR, member.author_key)


def assemble(
    config: NodeConfig, network: NetworkGenesis, store: Store, transport: Transport, metrics: Metrics
) -> Runtime:
    """Return the node's runtime with the keys and the author's pipeline that its membership calls for.

    Raises:
        ConfigError: KEY-nn, a key is missing, open to others, damaged, or not the one admitted.
    """
    member = network.member(config.name)
    keys = validator_keys(config, member, network)
    runtime = Runtime(config.name, store, transport, keys, timing=timing_of(config), metrics=metrics)
    runtime.author = make_author(config, member, runtime, network)
    return runtime


async def run_node(config: NodeConfig, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run a node until cancelled. Started when it listens on both interfaces.

    Raises:
        OperatingError: what it needs is not there; nothing was started.
        StoreError: something could not be made durable: the node stopped safely.
    """
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("node")
    network = load_genesis(config.genesis)
    member = network.member(config.name)
    check_keys(config, member, network)
    token = decode_token(read_private_file(config.token_path), config.token_path)
    transport = make_transport(config, member, network)
    metrics = Metrics()
    with ExitStack() as stack:
        listener = stack.enter_context(open_listener(config.http.bind))
        store = stack.enter_context(Store.open(config.data, create=True, genesis=network.leaves))
        if store.state_lost:
            log.warning("state was lost; not voting until the others have closed every view", why=store.lost_reason)
        runtime = assemble(config, network, store, transport, metrics)
        runtime.index = stack.enter_context(closing(Index(config.data.with_name(config.data.name + ".index"))))
        limits = BodyLimits(config.http.body_bytes_max, config.http.body_timeout_ms / 1000)
        wait_max = config.http.wait_timeout_ms_max / 1000
        desk = runtime.author or NoDesk(config.name)
        app = node_app(StoreReader(store), Writes(desk, RuntimeView(runtime), metrics, token, limits, wait_max))
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.run)
            await nursery.start(partial(serve, app, listener))
            exempt_startup()
            height = runtime.replica.branches.state.height
            log.info("node runs", name=config.name, role=member.role.name.lower(), height=height)
            task_status.started()
