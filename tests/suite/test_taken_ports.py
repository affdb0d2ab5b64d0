"""A port that another program has: the error names the address, the port and the option that sets another."""

import asyncio
import re
import socket

import pytest

from lichtmast.api import ServerError, open_socket
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.ports import require_free


@pytest.mark.parametrize("option", ["--http-port", "--est-port"])
def test_a_taken_port_of_the_pages_or_of_enrolment_is_named_with_its_option(option: str) -> None:
    with open_socket("::1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=re.escape(f"TCP [::1]:{port}: ") + f".*{option}$"):
            open_socket("::1", port, option)


def test_an_address_that_is_not_of_this_machine_is_named_with_both_options() -> None:
    with pytest.raises(ServerError, match=r"TCP \[2001:db8::1\]:0: .*--est-port.*--host$"):
        open_socket("2001:db8::1", 0, "--est-port")


def test_a_taken_mqtt_port_is_named_with_its_option() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SuiteError, match=re.escape(f"TCP [::1]:{port}: ") + ".*--mqtt-port"):
            asyncio.run(require_free("::1", port, "--mqtt-port", wait_s=0))


def test_a_port_that_becomes_free_in_time_is_taken_for_free() -> None:
    async def scene() -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            asking = asyncio.create_task(require_free("::1", port, "--mqtt-port"))
            await asyncio.sleep(0)
            assert not asking.done()
        await asking

    asyncio.run(scene())
