"""Load against a real local network, measured from outside: processes, loopback, disks and all."""
