"""``python -m rectifier.tools.gpu_day``: what only a GPU can tell, in ten minutes, for the day one is at hand."""
