"""From formulas and the source of the runtime to machine code; what imports LLVM."""
