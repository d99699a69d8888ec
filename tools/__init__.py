"""Scripts that people and CI run; none of them is part of the installed package."""
