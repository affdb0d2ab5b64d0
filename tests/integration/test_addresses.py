"""The integration tests have run without IPv4, or somebody is told that they have not."""

import socket

import psutil
import pytest


def test_these_tests_ran_where_nothing_can_fall_back_to_ipv4() -> None:
    """At home a skip, in CI a failure: scripts/test runs this folder in scripts/ipv6-only."""
    with_ipv4 = [
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(one.family is socket.AddressFamily.AF_INET for one in addresses)
    ]
    if with_ipv4:
        pytest.skip(f"there is IPv4 on {', '.join(with_ipv4)}; scripts/test runs these tests without")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four, pytest.raises(OSError, match="unreachable"):
        four.connect(("192.0.2.1", 9))
