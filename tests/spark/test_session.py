import ipaddress

import psutil


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


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
