"""One small rule per operator: how labels pass through it, and what it ties to them."""
