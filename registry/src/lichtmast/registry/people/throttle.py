"""Slows down whoever guesses: by network and account together, by network, and by account.

An attempt is charged before it is looked at, so that a hundred at once count as a hundred, and given back when it was
right. Waiting grows to minutes and never becomes a lock: guessing from one network keeps nobody out on another, and
guessing from everywhere keeps nobody out where they signed in before.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from lichtmast.registry.people import limits
from lichtmast.registry.people_schema import attempt, known_network

_NETWORK_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Policy:
    """How many wrong attempts are free, and how long a wait can get."""

    free: int
    delay_s_max: int


_PAIR: Final = Policy(limits.FREE_ATTEMPTS, limits.DELAY_S_MAX)
_NETWORK: Final = Policy(limits.FREE_ATTEMPTS_OF_NETWORK, limits.DELAY_S_MAX)
_ACCOUNT: Final = Policy(limits.FREE_ATTEMPTS_ON_ACCOUNT, limits.DELAY_ON_ACCOUNT_S_MAX)


def network_of(source: str) -> str:
    """The /64 that an address is in: what one subscriber has at least. Other sources stand for themselves."""
    try:
        address = IPv6Address(source.partition("%")[0])
    except ValueError:
        return source[:40]
    return str(IPv6Network((address, _NETWORK_BITS), strict=False))


def wait_s(level: float, last_us: int, now_us: int, policy: Policy) -> int:
    """How long the next attempt has to wait after `level` attempts that were not forgiven, the last at `last_us`."""
    over = int(level) - policy.free
    if over < 0:
        return 0
    delay_s = min(1 << min(over, 30), policy.delay_s_max)
    return max(0, math.ceil((last_us - now_us) / 1e6 + delay_s))


def decayed(level: float, last_us: int, now_us: int) -> float:
    """What is left of a level: one attempt is forgiven in a while."""
    return max(0.0, level - max(0, now_us - last_us) / (limits.FORGIVEN_EVERY_S * 1e6))


def keys_of(connection: Connection, login: str, source: str, account_id: int | None, now_us: int) -> dict[str, Policy]:
    """What an attempt is charged to. Logins are hashed: people type passwords there by mistake."""
    who = hashlib.sha256(login.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    network = network_of(source)
    keys = {f"pair {who} {network}": _PAIR, f"network {network}": _NETWORK}
    k = known_network.c
    if (
        account_id is None
        or not connection.execute(
            select(k.account_id).where(
                k.account_id == account_id,
                k.network == network,
                k.seen_at_us > now_us - limits.KNOWN_NETWORK_S * 1_000_000,
            )
        ).first()
    ):
        keys[f"account {who}"] = _ACCOUNT
    return keys


def charge(connection: Connection, keys: Mapping[str, Policy], now_us: int) -> int:
    """Charge an attempt, and return 0; or charge nothing, and return the seconds to wait."""
    a = attempt.c
    connection.execute(delete(attempt).where(a.last_us < now_us - limits.ATTEMPT_KEPT_S * 1_000_000))
    rows = {row.key: row for row in connection.execute(select(a.key, a.level, a.last_us).where(a.key.in_(keys)))}
    waiting_s = max((wait_s(row.level, row.last_us, now_us, keys[key]) for key, row in rows.items()), default=0)
    if waiting_s:
        return waiting_s
    for key in keys:
        row = rows.get(key)
        if row is None:
            connection.execute(insert(attempt).values(key=key, level=1.0, last_us=now_us))
        else:
            level = decayed(row.level, row.last_us, now_us) + 1.0
            connection.execute(update(attempt).where(a.key == key).values(level=level, last_us=now_us))
    return 0


def give_back(connection: Connection, keys: Mapping[str, Policy]) -> None:
    """The attempt was right: it does not count, and the pair of account and network begins anew.

    The network does not: signing in to one's own account between guesses at others' forgives nothing.
    """
    for key, policy in keys.items():
        if policy is _PAIR:
            connection.execute(delete(attempt).where(attempt.c.key == key))
    give_back_one(connection, {key: policy for key, policy in keys.items() if policy is not _PAIR})


def give_back_one(connection: Connection, keys: Mapping[str, Policy]) -> None:
    """The attempt was half right: a password, and the code still to come."""
    connection.execute(update(attempt).where(attempt.c.key.in_(keys)).values(level=attempt.c.level - 1.0))


def remember_network(connection: Connection, account_id: int, source: str, now_us: int) -> None:
    """The account signed in from here."""
    k, network = known_network.c, network_of(source)
    connection.execute(delete(known_network).where(k.account_id == account_id, k.network == network))
    connection.execute(insert(known_network).values(account_id=account_id, network=network, seen_at_us=now_us))
    newest = (
        select(k.network)
        .where(k.account_id == account_id)
        .order_by(k.seen_at_us.desc(), k.network)
        .limit(limits.KNOWN_NETWORKS_MAX)
    )
    connection.execute(delete(known_network).where(k.account_id == account_id, k.network.not_in(newest)))
