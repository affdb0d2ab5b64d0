"""SensorThings, server-sent live readings and pages over HTTP."""
