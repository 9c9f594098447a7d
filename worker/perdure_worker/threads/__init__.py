"""The threads that handlers run on."""
