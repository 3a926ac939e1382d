"""The tests mirror the house: `tests/<floor>/test_<room>.py`; real sockets in `functional`, outside suites in `conformance`."""
