"""The CPU engine: a kernel for each function, operation and dtype, a driver that brings data to it, ufuncs around."""
