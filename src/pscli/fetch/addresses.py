"""Which addresses belong to the open internet, after the IANA registries of special ones.

Whatever is left out there (private and shared networks, loopback, link-local, documentation,
benchmarks, tunnels and translators that may lead inside) is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast
SPECIAL_4 = [ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)]  # fmt: skip
# Global unicast is 2000::/3: what IANA has not given to anyone is not the open internet either,
# as ::/96, ::ffff:0:0:0/96, 64:ff9b:1::/48, 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10.
GLOBAL_6 = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry: those within it
SPECIAL_6 = [ip_network(text) for text in (
    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)]  # fmt: skip
NAT64 = IPv6Network("64:ff9b::/96")  # how networks without IPv4 reach it: the last 32 bits count


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when it wraps an IPv4 one."""
    ip = ip_address(address)
    if ip.version == 6:
        inner = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip.ipv4_mapped
        if inner is None:
            return ip in GLOBAL_6 and not any(ip in special for special in SPECIAL_6)
        ip = inner
    return not any(ip in special for special in SPECIAL_4)
