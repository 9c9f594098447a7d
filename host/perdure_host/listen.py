"""Where a server listens, and whether it may.

Must stay true: a port that strangers can reach asks for a token and speaks TLS, unless the operator
has said in so many words that it need not.
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
    """Read HOST:PORT; IPv6 addresses stand in brackets. Raises SettingsError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsError(f"address {text!r}: an IPv6 host stands in brackets, as in [::1]:7600")
    if not colon or not host:
        raise SettingsError(f"address {text!r}: expected HOST:PORT, for example 127.0.0.1:7600")
    if not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise SettingsError(f"address {text!r}: the port must be a number from 0 to {PORT_MAX}")
    return Address(host, int(port))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches the host; a name but localhost may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(
    address: Address, *, token_file: str | None, tls_cert: str | None, insecure: bool
) -> None:
    """Raise SettingsError if others can reach `address`, unprotected and not meant to be so."""
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
            f"{' and '.join(missing)}; give them, listen on 127.0.0.1, or say --insecure"
        )
