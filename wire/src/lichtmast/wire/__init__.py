"""The contract between devices and Lichtmast: what the bytes mean.

Pure: values in, values out. No clock, socket, file or log lives here, so a device maker can depend on this package alone.
"""
