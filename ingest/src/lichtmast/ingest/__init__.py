"""From bytes on a socket to observations on disk: doors, log, pipeline, acknowledgements."""
