"""What this machine has: devices, versions, compilers. Looks, changes nothing."""
