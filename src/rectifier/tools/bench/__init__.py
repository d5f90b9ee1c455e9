"""``rectifier bench``: every function against everybody who offers it, measured so that it can be believed."""
