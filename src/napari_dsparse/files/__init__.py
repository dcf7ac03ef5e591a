"""Reading and writing of models, and export of results in the formats that other programs open."""
