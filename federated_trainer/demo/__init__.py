"""`llmos federate demo`: three institutions on one machine, with everything switched on."""
