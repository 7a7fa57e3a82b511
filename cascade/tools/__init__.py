"""What people look at: reports, pictures, and the measuring behind them."""
