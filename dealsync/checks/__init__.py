"""The checks of `dealsync doctor`: small functions over a context, a module for each end. They change nothing."""
