import ipaddress

import psutil
import pytest
from pyspark.sql.connect.client import DefaultChannelBuilder

from include.cleaning import session


def test_a_session_in_this_process_listens_on_loopback_only(spark):
    children = psutil.Process().children(recursive=True)
    listening = [
        connection.laddr
        for process in children
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert listening
    assert [str(each) for each in listening if not _is_loopback(each.ip)] == []


@pytest.mark.parametrize("address", ["sc://localhost:1", "sc://localhost/", "sc://localhost/;token=t"])
def test_every_task_of_an_installation_asks_for_the_same_session_of_a_server(address, settings):
    asked, shared = DefaultChannelBuilder(address), DefaultChannelBuilder(session._shared(address))

    assert asked.session_id is None
    assert shared.session_id == DefaultChannelBuilder(session._shared("sc://elsewhere")).session_id
    assert (shared.endpoint, shared.token) == (asked.endpoint, asked.token)


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
