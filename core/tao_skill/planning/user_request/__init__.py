"""Grammar of user requests about AutoML: text -> clauses -> statements -> off, auto or unclear."""
