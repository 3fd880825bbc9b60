"""`prepare` on Apache Beam: the same data set, made by several machines."""
