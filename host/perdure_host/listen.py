"""Listen addresses, and the check that public ones are protected.

Must stay true: a port that other machines can reach requires a token and TLS, unless the operator
has said explicitly that it need not.
"""

import ipaddress

import msgspec

from perdure_host.errors import SettingsError

PORT_MAX = 65_535


class Address(msgspec.Struct, frozen=True):
    """A host, without brackets, and a port; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse HOST:PORT; IPv6 addresses are in brackets. Raises SettingsError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsError(f"address {text!r}: an IPv6 host must be in brackets, as in [::1]:7600")
    if not colon or not host:
        raise SettingsError(f"address {text!r}: expected HOST:PORT, for example 127.0.0.1:7600")
    if not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise SettingsError(f"address {text!r}: the port must be a number from 0 to {PORT_MAX}")
    return Address(host, int(port))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host; of names, only localhost counts."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(
    address: Address, *, token_file: str | None, tls_cert: str | None, insecure: bool
) -> None:
    """Raise SettingsError if other machines can reach `address` without a token and TLS."""
    if insecure or is_loopback(address.host):
        return
    missing = [
        option
        for option, value in (("--token-file", token_file), ("--tls-cert and --tls-key", tls_cert))
        if value is None
    ]
    if missing:
        raise SettingsError(
            f"refusing to listen on {address}, which other machines can reach, without "
            f"{' and '.join(missing)}. Set them, listen on 127.0.0.1, or pass --insecure."
        )
