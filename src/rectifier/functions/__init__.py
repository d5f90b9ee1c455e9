"""From a block of the catalogue to a public function and its calls."""
