"""What each operator does to labels: one file per kind of operator, `table.py` names them all."""
