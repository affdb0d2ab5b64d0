"""The composition root: wires the rooms together and offers the `lichtmast` command."""

__all__: list[str] = []
