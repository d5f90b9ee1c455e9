"""What a block of the catalogue becomes: a public function, and its calls."""
