"""Every array library that a call may meet, each behind one interface."""
