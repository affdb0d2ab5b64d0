"""The commands of `lichtmast`, one a module."""
