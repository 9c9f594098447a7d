"""Membership of nodes, and with it the right to write: joining, renewing, leaving.

Nodes that join lock one row of `cluster`, so that two of them never both find no live node. Marking
the predecessor dead waits for its commit in flight, which has a shared lock on its row; later
commits find the row dead or gone, and fail.
"""

from sqlalchemy import Connection, delete, func, insert, select, update

from perdure_host.errors import Fenced, NodeTaken
from perdure_host.sql.dialects import Dialect
from perdure_host.sql.schema import buckets, cluster, nodes

SECRET = "secret"  # noqa: S105 - the name of the row


def store_secret(connection: Connection, dialect: Dialect, fresh: bytes) -> None:
    """Store the new secret, unless the cluster has one already."""
    row = dialect.insert_into(cluster).values(key=SECRET, value=fresh)
    connection.execute(row.on_conflict_do_nothing())


def read_secret(connection: Connection) -> bytes | None:
    """Return the secret of the cluster, or None if it has none yet."""
    return connection.scalar(select(cluster.c.value).where(cluster.c.key == SECRET))


def join(
    connection: Connection,
    node_name: str,
    address: str,
    *,
    now_ms: int,
    lease_ms: int,
    spare_expired: bool = False,
) -> int:
    """Make the node the only live one, under a new incarnation."""
    connection.execute(select(cluster.c.key).where(cluster.c.key == SECRET).with_for_update())
    _require_no_live_node(connection, node_name, None if spare_expired else now_ms)
    connection.execute(update(nodes).where(nodes.c.live).values(live=False))
    incarnation = (connection.scalar(select(func.max(nodes.c.incarnation))) or 0) + 1
    # Rows of dead nodes are not needed: the newest row keeps the numbers increasing.
    connection.execute(delete(nodes))
    connection.execute(
        insert(nodes).values(
            node_name=node_name,
            incarnation=incarnation,
            live=True,
            address=address,
            lease_until_ms=now_ms + lease_ms,
            joined_ms=now_ms,
        )
    )
    connection.execute(update(buckets).values(incarnation=incarnation))
    return incarnation


def shorten_leases(connection: Connection, *, now_ms: int, lease_ms: int) -> None:
    """Shorten leases that end implausibly late, as if they were asked for now.

    The clock was set back since they were written. A node that lives goes on to renew its own.
    """
    connection.execute(
        update(nodes)
        .where(nodes.c.live, nodes.c.lease_until_ms > now_ms + 2 * lease_ms)
        .values(lease_until_ms=now_ms + lease_ms)
    )


def renew(connection: Connection, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
    """Extend the lease of a live incarnation."""
    renewed = connection.execute(
        update(nodes)
        .where(nodes.c.incarnation == incarnation, nodes.c.live)
        .values(lease_until_ms=now_ms + lease_ms)
    )
    if renewed.rowcount != 1:
        raise fenced(incarnation)


def leave(connection: Connection, incarnation: int) -> None:
    """Mark the incarnation as gone, if it is still live."""
    connection.execute(
        update(nodes).where(nodes.c.incarnation == incarnation, nodes.c.live).values(live=False)
    )


def fenced(incarnation: int) -> Fenced:
    """Return the error to raise for an incarnation that may no longer write."""
    return Fenced(f"incarnation {incarnation} is no longer live")


def _require_no_live_node(
    connection: Connection, node_name: str, expired_at_ms: int | None
) -> None:
    """Raise NodeTaken if another node is live, and its lease had not expired at this time."""
    others = select(nodes.c.node_name, nodes.c.address, nodes.c.lease_until_ms).where(
        nodes.c.live, nodes.c.node_name != node_name
    )
    if expired_at_ms is not None:
        others = others.where(nodes.c.lease_until_ms > expired_at_ms)
    taken = connection.execute(others).first()
    if taken is not None:
        name, address, lease_until_ms = taken
        ends = "may be renewed: the database was away"
        if expired_at_ms is not None:
            ends = f"expires in {lease_until_ms - expired_at_ms} ms unless it renews"
        raise NodeTaken(f"node {name!r} at {address} owns the buckets; its lease {ends}", address)
