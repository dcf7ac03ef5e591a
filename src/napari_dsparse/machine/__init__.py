"""This computer: its devices, its cores, and what is kept on its disk."""
