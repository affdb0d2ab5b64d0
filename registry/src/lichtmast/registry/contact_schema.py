"""The table of when and from where each device was last heard; in the same metadata as `schema`.

One row a device and transport, overwritten and erased after a while: where a node is reached can tell whose it is.
"""

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table

from lichtmast.registry.schema import metadata

device_contact: Final = Table(
    "device_contact",
    metadata,
    Column("device_id", Integer, ForeignKey("device.id"), primary_key=True),
    Column("transport", String, primary_key=True),
    Column("address", String, nullable=False),  # an IPv6 literal in its shortest form
    Column("heard_us", BigInteger, nullable=False),
    CheckConstraint("transport IN ('mqtt', 'coap')", name="transport"),
)

Index("ix_device_contact_heard_us", device_contact.c.heard_us)  # for erasing the old ones
