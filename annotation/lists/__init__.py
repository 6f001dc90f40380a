"""The lists of a project's pages: what they can be sorted and filtered by, pages of them, and CSV."""
