"""This computer: its devices, its cores, and the cache on its disk."""
