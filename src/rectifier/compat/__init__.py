"""Other libraries' interfaces with these functions behind them."""
