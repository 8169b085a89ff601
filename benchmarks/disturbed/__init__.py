"""A job that is killed, or whose disk fails, at a chosen write; and what must hold of its folder afterwards."""
