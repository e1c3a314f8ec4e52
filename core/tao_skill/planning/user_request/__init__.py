"""What a user's request says about AutoML: text -> clauses -> statements -> off, auto or unclear."""
