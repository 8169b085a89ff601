"""One file a verb; words become values here."""
