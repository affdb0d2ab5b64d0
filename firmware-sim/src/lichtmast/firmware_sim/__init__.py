"""Virtual devices and towns that speak real MQTT and CoAP over real IPv6."""
